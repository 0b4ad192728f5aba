// node-redis' own API against the server, over RESP2 and RESP3.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { createClient, createClientPool, ErrorReply, RESP_TYPES } from 'redis';
import {
  authPort, eventually, everyByte, host, isQuick, isReference, oddValues, parseInfo, password, port, skipAuth,
} from './node-support.js';

for (const RESP of [2, 3]) {
  describe(`node-redis, RESP${RESP}`, () => {
    let made = [];
    let client;

    async function connect({ socket, ...options } = {}) {
      const redis = createClient({ RESP, socket: { host, port, ...socket }, ...options });
      redis.on('error', () => {});
      made.push(redis);
      await redis.connect();
      return redis;
    }

    function named(name, fn, options = {}) {
      test(`${name} (RESP${RESP})`, options, fn);
    }

    const binary = (redis) => redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });

    beforeEach(async () => {
      made = [];
      client = await connect();
      await client.flushAll();
    });
    afterEach(() => made.forEach((redis) => { if (redis.isOpen) redis.destroy(); }));

    named('connects with the wanted protocol', async () => {
      assert.equal(await client.ping(), 'PONG');
      assert.equal(await client.echo('hello'), 'hello');
      const info = await client.clientInfo();
      assert.equal(info.resp, RESP);
      assert.equal(info.id, await client.clientId());
    });

    named('describes the server by HELLO', async () => {
      const hello = await client.hello(RESP);
      assert.deepEqual({ server: hello.server, proto: hello.proto, mode: hello.mode, role: hello.role, modules: [...hello.modules] },
        { server: 'redis', proto: RESP, mode: 'standalone', role: 'master', modules: [] });
    });

    named('names itself by CLIENT SETINFO', async () => {
      const info = await client.clientInfo();
      assert.match(info.libName, /node-redis/);
      assert.match(info.libVer, /^6\.3\.1/);
    }, { skip: isReference && 'redis-server 7.0 has no CLIENT SETINFO' });

    named('logs in', async () => {
      const redis = await connect({ socket: { port: authPort }, password });
      assert.equal(await redis.set('key', 'value'), 'OK');
      const user = await connect({ socket: { port: authPort }, username: 'default', password });
      assert.equal(await user.get('key'), 'value');
      await assert.rejects(user.auth({ password: 'wrong' }), { message: 'WRONGPASS invalid username-password pair or user is disabled.' });
      assert.equal(await user.get('key'), 'value');
    }, { skip: skipAuth });

    named('is refused with a wrong password, or none', async () => {
      const socket = { port: authPort, reconnectStrategy: false };
      await assert.rejects(connect({ socket, password: 'wrong' }), /WRONGPASS invalid username-password pair or user is disabled\./);
      // RESP3's HELLO fails at once, RESP2's first command does
      await assert.rejects(connect({ socket }).then((redis) => redis.get('key')), /NOAUTH/);
    }, { skip: skipAuth });

    named('keeps databases apart', async () => {
      const second = await connect({ database: 5 });
      await client.set('key', 'zero');
      await second.set('key', 'five');
      assert.equal(await client.get('key'), 'zero');
      await client.select(5);
      assert.equal(await client.get('key'), 'five');
      await assert.rejects(client.select(99), { message: 'ERR DB index is out of range' });
      await client.select(0);
      assert.equal(await client.move('key', 6), 1);
      assert.equal(await client.swapDb(5, 6), 'OK');
      assert.equal(await second.get('key'), 'zero');
    });

    named('sends 10,000 commands in a pipeline', async () => {
      const batch = client.multi();
      for (let i = 0; i < 5000; i++) batch.set(`key:${i}`, String(i * i));
      for (let i = 0; i < 5000; i++) batch.get(`key:${i}`);
      const replies = await batch.execAsPipeline();
      assert.deepEqual(replies, [...Array(5000).fill('OK'), ...Array.from({ length: 5000 }, (_, i) => String(i * i))]);
    });

    named('pipelines what is sent in one tick', async () => {
      const replies = await Promise.all(Array.from({ length: 10_000 }, () => client.incr('n')));
      assert.deepEqual(replies, Array.from({ length: 10_000 }, (_, i) => i + 1));
    });

    for (const mebibytes of [1, 64]) {
      named(`stores ${mebibytes} MiB`, async () => {
        const value = Buffer.concat(Array(mebibytes).fill(crypto.randomBytes(1 << 20)));
        assert.equal(await client.set('large', value), 'OK');
        assert.equal(await client.strLen('large'), value.length);
        assert.ok(value.equals(await binary(client).get('large')));
        assert.equal(await client.append('large', 'end'), value.length + 3);
        assert.equal(await client.del('large'), 1);
      }, { skip: mebibytes > 1 && isQuick && 'quick' });
    }

    named('takes any bytes as keys and values', async () => {
      const raw = binary(client);
      for (const key of oddValues) {
        for (const value of oddValues) {
          await raw.set(key, value);
          assert.ok(value.equals(await raw.get(key)));
        }
      }
      const keys = await raw.keys('*');
      assert.deepEqual(keys.sort(Buffer.compare), [...oddValues].sort(Buffer.compare));
      await raw.rename(everyByte, Buffer.from([1, 2]));
      assert.equal(await raw.del([...oddValues, Buffer.from([1, 2])]), oddValues.length);
      assert.equal(await raw.dbSize(), 0);
    });

    named('string commands', async () => {
      assert.equal(await client.set('k', '1', { condition: 'NX' }), 'OK');
      assert.equal(await client.set('k', '2', { condition: 'NX' }), null);
      assert.equal(await client.set('k', '2', { condition: 'XX', expiration: { type: 'EX', value: 100 } }), 'OK');
      assert.equal(await client.set('k', '3', { expiration: 'KEEPTTL', GET: true }), '2');
      const ttl = await client.ttl('k');
      assert.ok(ttl > 0 && ttl <= 100);
      assert.equal(await client.getSet('k', '4'), '3');
      assert.equal(await client.getEx('k', { type: 'PX', value: 100_000 }), '4');
      assert.ok((await client.pTTL('k')) > 90_000);
      assert.equal(await client.getEx('k', { type: 'PERSIST' }), '4');
      assert.equal(await client.ttl('k'), -1);
      assert.equal(await client.getDel('k'), '4');
      assert.equal(await client.get('k'), null);
      assert.equal(await client.setNX('n', '1'), 1);
      assert.equal(await client.setEx('s', 100, 'x'), 'OK');
      assert.equal(await client.pSetEx('p', 100_000, 'x'), 'OK');
      assert.equal(await client.mSet({ a: '1', b: '2' }), 'OK');
      assert.deepEqual(await client.mGet(['a', 'missing', 'b']), ['1', null, '2']);
      assert.equal(await client.mSetNX({ a: '9', c: '9' }), 0);
      assert.equal(await client.append('r', 'Hello World'), 11);
      assert.equal(await client.getRange('r', -5, -1), 'World');
      assert.equal(await client.setRange('r', 6, 'Redis'), 11);
      assert.equal(await client.get('r'), 'Hello Redis');
      assert.deepEqual([await client.incr('i'), await client.incrBy('i', 10), await client.decr('i'), await client.decrBy('i', 5)], [1, 11, 10, 5]);
      assert.equal(Number(await client.incrByFloat('f', 10.25)), 10.25);
      await client.mSet({ one: 'ohmytext', two: 'mynewtext' });
      assert.equal(await client.lcs('one', 'two'), 'mytext');
      assert.equal(await client.lcsLen('one', 'two'), 6);
      const { matches, len } = await client.lcsIdxWithMatchLen('one', 'two', { MINMATCHLEN: 4 });
      assert.deepEqual([matches, len], [[[[4, 7], [5, 8], 4]], 6]);
    });

    named('key commands and times to live', async () => {
      await client.mSet({ a: '1', b: '2', c: '3' });
      assert.equal(await client.exists(['a', 'b', 'a', 'missing']), 3);
      assert.equal(await client.touch(['a', 'missing']), 1);
      assert.equal(await client.type('a'), 'string');
      assert.equal(await client.type('missing'), 'none');
      assert.equal(await client.unlink(['b', 'missing']), 1);
      assert.equal(await client.renameNX('a', 'c'), 0);
      await assert.rejects(client.rename('missing', 'x'), { message: 'ERR no such key' });
      assert.equal(await client.copy('a', 'd'), 1);
      assert.equal(await client.copy('a', 'd'), 0);
      assert.equal(await client.copy('c', 'd', { REPLACE: true }), 1);
      assert.equal(await client.get('d'), '3');
      assert.ok(['a', 'c', 'd'].includes(await client.randomKey()));
      const at = Math.floor(Date.now() / 1000) + 1000;
      assert.equal(await client.expireAt('a', at), 1);
      assert.equal(await client.expireTime('a'), at);
      assert.equal(await client.pExpireAt('a', at * 1000 + 7), 1);
      assert.equal(await client.pExpireTime('a'), at * 1000 + 7);
      assert.equal(await client.expire('a', 5000, 'LT'), 0);
      assert.equal(await client.expire('a', 5000, 'GT'), 1);
      assert.equal(await client.persist('a'), 1);
      assert.equal(await client.ttl('a'), -1);
      assert.equal(await client.ttl('missing'), -2);
      assert.equal(await client.pExpire('a', 20), 1);
      await eventually('the key expires', async () => (await client.exists('a')) === 0);
      assert.equal(await client.objectEncoding('d'), 'int');
      assert.ok((await client.objectIdleTime('d')) <= 1);
      assert.ok((await client.memoryUsage('d')) > 0);
      assert.ok((await client.memoryStats())['total.allocated'] > 0);
    });

    named('scans by iterators', async () => {
      const keys = Array.from({ length: 3000 }, (_, i) => `user:${i}`).concat(Array.from({ length: 100 }, (_, i) => `item:${i}`));
      await client.mSet(Object.fromEntries(keys.map((k) => [k, 'x'])));
      const collect = async (options) => {
        const found = new Set();
        for await (const page of client.scanIterator(options)) page.forEach((k) => found.add(k));
        return found;
      };
      assert.deepEqual(await collect(), new Set(keys));
      assert.deepEqual(await collect({ MATCH: 'item:*', COUNT: 500 }), new Set(keys.filter((k) => k.startsWith('item:'))));
      assert.equal((await collect({ TYPE: 'list' })).size, 0);
    });

    named('maps errors to ErrorReply', async () => {
      await assert.rejects(client.sendCommand(['NOPE', 'a']), (error) => {
        assert.ok(error instanceof ErrorReply);
        assert.equal(error.message, "ERR unknown command 'NOPE', with args beginning with: 'a' ");
        return true;
      });
      await assert.rejects(client.sendCommand(['GET']), { message: "ERR wrong number of arguments for 'get' command" });
      await assert.rejects(client.sendCommand(['SET', 'a', 'b', 'BAD']), { message: 'ERR syntax error' });
      await assert.rejects(client.configSet('nope', '1'), { message: "ERR Unknown option or number of arguments for CONFIG SET - 'nope'" });
      await client.set('text', 'abc');
      await assert.rejects(client.incr('text'), { message: 'ERR value is not an integer or out of range' });
      assert.equal(await client.ping(), 'PONG');
    });

    named('reconnects after CLIENT KILL', async () => {
      const victim = await connect({ name: 'victim', database: 3 });
      const id = await victim.clientId();
      assert.equal(await client.clientKill({ filter: 'ID', id }), 1);
      await eventually('a new connection', async () => (await victim.clientId().catch(() => id)) !== id);
      assert.equal(await victim.clientGetName(), 'victim');
      assert.equal(await victim.set('after', 'kill'), 'OK');
      assert.equal((await victim.clientInfo()).db, 3);
    });

    named('a pool of 50 connections', async () => {
      const pool = createClientPool({ RESP, socket: { host, port } }, { minimum: 50, maximum: 50 });
      pool.on('error', () => {});
      await pool.connect();
      try {
        assert.equal(pool.totalClients, 50);
        assert.ok(Number(parseInfo(await client.info('clients')).connected_clients) >= 51);
        await Promise.all(Array.from({ length: 5000 }, () => pool.incr('total')));
        assert.equal(await client.get('total'), '5000');
      } finally {
        await pool.close();
      }
    });

    named('reads CONFIG, INFO, COMMAND and the lists', async () => {
      assert.deepEqual({ ...(await client.configGet('maxmemory')) }, { maxmemory: '0' });
      assert.equal(await client.configSet({ 'slowlog-max-len': '77', timeout: '0' }), 'OK');
      assert.deepEqual({ ...(await client.configGet(['slowlog-max-len', 'timeout'])) }, { 'slowlog-max-len': '77', timeout: '0' });
      assert.equal(await client.configSet('slowlog-max-len', '128'), 'OK');
      assert.equal(await client.configResetStat(), 'OK');
      const info = parseInfo(await client.info());
      assert.equal(info.loading, '0');
      assert.equal(info.tcp_port, String(port));
      const [get] = await client.commandInfo(['GET']);
      assert.deepEqual([get.name, get.arity, get.firstKeyIndex, get.lastKeyIndex, get.step], ['get', 2, 1, 1, 1]);
      const commands = await client.command();
      assert.equal(commands.length, await client.commandCount());
      assert.deepEqual(await client.commandGetKeys(['MSET', 'a', '1', 'b', '2']), ['a', 'b']);
      assert.ok((await client.commandList()).includes('get'));
      assert.ok((await client.clientList()).some((c) => c.resp === RESP));
      assert.deepEqual(await client.latencyLatest(), []);
      assert.equal(await client.wait(0, 100), 0);
    });

    named('watches with MONITOR', async () => {
      const watcher = await connect();
      const seen = new Promise((resolve) => {
        watcher.monitor((line) => { if (/"set"/i.test(String(line))) resolve(String(line)); });
      });
      // the first commands may be sent before MONITOR takes effect
      let line;
      seen.then((l) => { line = l; });
      await eventually('a line', async () => { await client.set('seen', 'by monitor'); return line; });
      assert.match(line, /^\d+\.\d{6} \[0 127\.0\.0\.1:\d+\] "SET" "seen" "by monitor"$/);
    });

    named('says goodbye', async () => {
      const redis = await connect();
      assert.equal(await redis.ping(), 'PONG');
      await redis.close();
      assert.equal(redis.isOpen, false);
    });
  });
}
