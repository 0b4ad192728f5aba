// The servers under test, for clients in JavaScript.
export const host = process.env.COMPAT_HOST;
export const port = Number(process.env.COMPAT_PORT);
export const authPort = Number(process.env.COMPAT_AUTH_PORT || 0);
export const password = process.env.COMPAT_PASSWORD;
export const isReference = Boolean(process.env.COMPAT_REFERENCE);
export const isQuick = Boolean(process.env.COMPAT_QUICK);
export const skipAuth = authPort ? false : 'no server with a password';

export const everyByte = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
export const oddValues = [
  everyByte, Buffer.alloc(0), Buffer.from([0]), Buffer.from('\r\n'), Buffer.from('$5\r\nhello\r\n'),
  Buffer.from('*1\r\n'), Buffer.from(' '), Buffer.from('clé ☃'), Buffer.from([0xff, 0xfe]),
];

// Wait until `check` gives something true; `what` names it where it never does.
export async function eventually(what, check, milliseconds = 10_000) {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`in vain waited for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

// INFO's text as an object.
export function parseInfo(text) {
  return Object.fromEntries(text.split('\r\n').filter((l) => l.includes(':')).map((l) => {
    const at = l.indexOf(':');
    return [l.slice(0, at), l.slice(at + 1)];
  }));
}
