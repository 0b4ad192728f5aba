// ioredis' own API against the server, over RESP2 and RESP3.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Redis, ReplyError } from 'ioredis';
import {
  authPort, eventually, everyByte, host, isQuick, isReference, oddValues, parseInfo, password, port, skipAuth,
} from './node-support.js';

for (const protocol of [2, 3]) {
  describe(`ioredis, RESP${protocol}`, () => {
    let made = [];
    let client;

    // A client that tells its errors to whoever calls it, and closes at the end of the test.
    function connect(options = {}) {
      const redis = new Redis({ host, port, protocol, maxRetriesPerRequest: 3, ...options });
      redis.on('error', () => {});
      made.push(redis);
      return redis;
    }

    function named(name, fn, options = {}) {
      test(`${name} (RESP${protocol})`, options, fn);
    }

    beforeEach(async () => {
      made = [];
      client = connect();
      await client.flushall();
    });
    afterEach(() => made.forEach((redis) => redis.disconnect()));

    named('connects with the wanted protocol', async () => {
      assert.equal(await client.ping(), 'PONG');
      assert.equal(await client.echo('hello'), 'hello');
      assert.match(await client.client('INFO'), new RegExp(`\\bresp=${protocol}\\b`));
      assert.ok((await client.client('ID')) > 0);
    });

    named('names itself by CLIENT SETINFO', async () => {
      const info = await client.client('INFO');
      assert.match(info, /\blib-name=ioredis/);
      assert.match(info, /\blib-ver=6\.0\.0/);
    }, { skip: isReference && 'redis-server 7.0 has no CLIENT SETINFO' });

    named('logs in', async () => {
      const redis = connect({ port: authPort, password });
      assert.equal(await redis.set('key', 'value'), 'OK');
      const user = connect({ port: authPort, username: 'default', password });
      assert.equal(await user.get('key'), 'value');
      await assert.rejects(user.auth('wrong'), { message: 'WRONGPASS invalid username-password pair or user is disabled.' });
      assert.equal(await user.get('key'), 'value');
    }, { skip: skipAuth });

    named('is refused with a wrong password, or none', async () => {
      const wrong = new Redis({ host, port: authPort, protocol, password: 'wrong', retryStrategy: null, lazyConnect: true });
      made.push(wrong);
      const [error] = await Promise.all([new Promise((resolve) => wrong.on('error', resolve)), wrong.connect().catch(() => {})]);
      assert.match(error.message, /WRONGPASS invalid username-password pair or user is disabled\./);
      const none = connect({ port: authPort });
      await assert.rejects(none.get('key'), /NOAUTH/);
    }, { skip: skipAuth });

    named('keeps databases apart', async () => {
      const second = connect({ db: 5 });
      await client.set('key', 'zero');
      await second.set('key', 'five');
      assert.equal(await client.get('key'), 'zero');
      assert.equal(await client.select(5), 'OK');
      assert.equal(await client.get('key'), 'five');
      await assert.rejects(client.select(99), { message: 'ERR DB index is out of range' });
      await client.select(0);
      assert.equal(await client.move('key', 6), 1);
      assert.equal(await client.swapdb(5, 6), 'OK');
      assert.equal(await second.get('key'), 'zero');
    });

    named('sends 10,000 commands in a pipeline', async () => {
      const pipeline = client.pipeline();
      for (let i = 0; i < 5000; i++) pipeline.set(`key:${i}`, i * i);
      for (let i = 0; i < 5000; i++) pipeline.get(`key:${i}`);
      const replies = await pipeline.exec();
      assert.equal(replies.length, 10_000);
      for (let i = 0; i < 5000; i++) {
        assert.deepEqual(replies[i], [null, 'OK']);
        assert.deepEqual(replies[5000 + i], [null, String(i * i)]);
      }
    });

    named('pipelines by itself', async () => {
      const auto = connect({ enableAutoPipelining: true });
      const replies = await Promise.all(Array.from({ length: 1000 }, () => auto.incr('n')));
      assert.deepEqual(replies.sort((a, b) => a - b), Array.from({ length: 1000 }, (_, i) => i + 1));
    });

    named('keeps an error of a pipeline in its place', async () => {
      const replies = await client.pipeline().set('text', 'abc').incr('text').get('text').exec();
      assert.deepEqual([replies[0], replies[2]], [[null, 'OK'], [null, 'abc']]);
      assert.ok(replies[1][0] instanceof ReplyError);
      assert.equal(replies[1][0].message, 'ERR value is not an integer or out of range');
    });

    for (const mebibytes of [1, 64]) {
      named(`stores ${mebibytes} MiB`, async () => {
        const value = Buffer.concat(Array(mebibytes).fill(crypto.randomBytes(1 << 20)));
        assert.equal(await client.set('large', value), 'OK');
        assert.equal(await client.strlen('large'), value.length);
        assert.ok(value.equals(await client.getBuffer('large')));
        assert.equal(await client.append('large', 'end'), value.length + 3);
        assert.equal(await client.del('large'), 1);
      }, { skip: mebibytes > 1 && isQuick && 'quick' });
    }

    named('takes any bytes as keys and values', async () => {
      for (const key of oddValues) {
        for (const value of oddValues) {
          assert.equal(await client.set(key, value), 'OK');
          assert.ok(value.equals(await client.getBuffer(key)));
        }
      }
      const keys = await client.keysBuffer('*');
      assert.deepEqual(keys.sort(Buffer.compare), [...oddValues].sort(Buffer.compare));
      assert.equal(await client.rename(everyByte, Buffer.from([1, 2])), 'OK');
      assert.equal(await client.del(...oddValues, Buffer.from([1, 2])), oddValues.length);
      assert.equal(await client.dbsize(), 0);
    });

    named('string commands', async () => {
      assert.equal(await client.set('k', '1', 'NX'), 'OK');
      assert.equal(await client.set('k', '2', 'NX'), null);
      assert.equal(await client.set('k', '2', 'EX', 100, 'XX'), 'OK');
      assert.equal(await client.set('k', '3', 'KEEPTTL', 'GET'), '2');
      const ttl = await client.ttl('k');
      assert.ok(ttl > 0 && ttl <= 100);
      assert.equal(await client.getset('k', '4'), '3');
      assert.equal(await client.getex('k', 'PX', 100_000), '4');
      assert.ok((await client.pttl('k')) > 90_000);
      assert.equal(await client.getex('k', 'PERSIST'), '4');
      assert.equal(await client.ttl('k'), -1);
      assert.equal(await client.getdel('k'), '4');
      assert.equal(await client.get('k'), null);
      assert.equal(await client.setnx('n', '1'), 1);
      assert.equal(await client.setex('s', 100, 'x'), 'OK');
      assert.equal(await client.psetex('p', 100_000, 'x'), 'OK');
      assert.equal(await client.mset({ a: 1, b: 2 }), 'OK');
      assert.deepEqual(await client.mget('a', 'missing', 'b'), ['1', null, '2']);
      assert.equal(await client.msetnx({ a: 9, c: 9 }), 0);
      assert.equal(await client.append('r', 'Hello World'), 11);
      assert.equal(await client.getrange('r', -5, -1), 'World');
      assert.equal(await client.setrange('r', 6, 'Redis'), 11);
      assert.equal(await client.get('r'), 'Hello Redis');
      assert.deepEqual([await client.incr('i'), await client.incrby('i', 10), await client.decr('i'), await client.decrby('i', 5)], [1, 11, 10, 5]);
      assert.equal(Number(await client.incrbyfloat('f', 10.25)), 10.25);
      await client.mset({ one: 'ohmytext', two: 'mynewtext' });
      assert.equal(await client.lcs('one', 'two'), 'mytext');
      assert.equal(await client.lcs('one', 'two', 'LEN'), 6);
      assert.deepEqual(await client.lcs('one', 'two', 'IDX', 'MINMATCHLEN', 4, 'WITHMATCHLEN'), ['matches', [[[4, 7], [5, 8], 4]], 'len', 6]);
    });

    named('key commands and times to live', async () => {
      await client.mset({ a: 1, b: 2, c: 3 });
      assert.equal(await client.exists('a', 'b', 'a', 'missing'), 3);
      assert.equal(await client.touch('a', 'missing'), 1);
      assert.equal(await client.type('a'), 'string');
      assert.equal(await client.type('missing'), 'none');
      assert.equal(await client.unlink('b', 'missing'), 1);
      assert.equal(await client.renamenx('a', 'c'), 0);
      await assert.rejects(client.rename('missing', 'x'), { message: 'ERR no such key' });
      assert.equal(await client.copy('a', 'd'), 1);
      assert.equal(await client.copy('a', 'd'), 0);
      assert.equal(await client.copy('c', 'd', 'REPLACE'), 1);
      assert.equal(await client.get('d'), '3');
      assert.ok(['a', 'c', 'd'].includes(await client.randomkey()));
      const at = Math.floor(Date.now() / 1000) + 1000;
      assert.equal(await client.expireat('a', at), 1);
      assert.equal(await client.expiretime('a'), at);
      assert.equal(await client.pexpireat('a', at * 1000 + 7), 1);
      assert.equal(await client.pexpiretime('a'), at * 1000 + 7);
      assert.equal(await client.expire('a', 5000, 'LT'), 0);
      assert.equal(await client.expire('a', 5000, 'GT'), 1);
      assert.equal(await client.persist('a'), 1);
      assert.equal(await client.ttl('a'), -1);
      assert.equal(await client.ttl('missing'), -2);
      assert.equal(await client.pexpire('a', 20), 1);
      await eventually('the key expires', async () => (await client.exists('a')) === 0);
      assert.equal(await client.object('ENCODING', 'd'), 'int');
      assert.ok((await client.memory('USAGE', 'd')) > 0);
    });

    named('scans by streams', async () => {
      const keys = Array.from({ length: 3000 }, (_, i) => `user:${i}`).concat(Array.from({ length: 100 }, (_, i) => `item:${i}`));
      await client.mset(...keys.flatMap((k) => [k, 'x']));
      const collect = async (options) => {
        const found = new Set();
        for await (const page of client.scanStream(options)) page.forEach((k) => found.add(k));
        return found;
      };
      assert.deepEqual(await collect({}), new Set(keys));
      assert.deepEqual(await collect({ match: 'item:*', count: 500 }), new Set(keys.filter((k) => k.startsWith('item:'))));
      assert.equal((await collect({ type: 'list' })).size, 0);
    });

    named('maps errors to ReplyError', async () => {
      await assert.rejects(client.call('NOPE', 'a'), (error) => {
        assert.ok(error instanceof ReplyError);
        assert.equal(error.message, "ERR unknown command 'NOPE', with args beginning with: 'a' ");
        return true;
      });
      await assert.rejects(client.call('GET'), { message: "ERR wrong number of arguments for 'get' command" });
      await assert.rejects(client.call('SET', 'a', 'b', 'BAD'), { message: 'ERR syntax error' });
      await assert.rejects(client.config('SET', 'nope', '1'), { message: "ERR Unknown option or number of arguments for CONFIG SET - 'nope'" });
      assert.equal(await client.ping(), 'PONG');
    });

    named('reconnects after CLIENT KILL', async () => {
      const victim = connect({ connectionName: 'victim', db: 3 });
      const id = await victim.client('ID');
      assert.equal(await client.client('KILL', 'ID', id), 1);
      await eventually('a new connection', async () => (await victim.client('ID').catch(() => id)) !== id);
      assert.equal(await victim.client('GETNAME'), 'victim');
      assert.equal(await victim.set('after', 'kill'), 'OK');
      assert.match(await victim.client('INFO'), /\bdb=3\b/);
    });

    named('50 connections at once', async () => {
      const pool = Array.from({ length: 50 }, () => connect());
      const replies = await Promise.all(pool.map(async (redis, n) => {
        for (let i = 0; i < 100; i++) await redis.incr('total');
        return redis.set(`member:${n}`, n);
      }));
      assert.deepEqual(new Set(replies), new Set(['OK']));
      assert.equal(await client.get('total'), '5000');
      assert.ok(Number(parseInfo(await client.info('clients')).connected_clients) >= 51);
    });

    named('reads CONFIG, INFO, COMMAND and SLOWLOG', async () => {
      assert.deepEqual(await client.config('GET', 'maxmemory'), ['maxmemory', '0']);
      assert.equal(await client.config('SET', 'slowlog-log-slower-than', '0'), 'OK');
      await client.set('slow', 'x');
      assert.equal(await client.config('SET', 'slowlog-log-slower-than', '10000'), 'OK');
      const entries = await client.slowlog('GET', 10);
      assert.ok(entries.some((e) => e[3].join(' ') === 'set slow x'));
      const info = parseInfo(await client.info());
      assert.equal(info.loading, '0');
      assert.equal(info.tcp_port, String(port));
      assert.match(info.db0, /^keys=1,expires=0,avg_ttl=0/);
      const [get] = await client.command('INFO', 'GET');
      assert.deepEqual(get.slice(0, 2).concat(get.slice(3, 6)), ['get', 2, 1, 1, 1]);
      assert.ok((await client.command('COUNT')) > 50);
      assert.deepEqual(await client.command('GETKEYS', 'MSET', 'a', 1, 'b', 2), ['a', 'b']);
      const [seconds] = await client.time();
      assert.ok(Math.abs(Number(seconds) - Date.now() / 1000) < 60);
    });

    named('watches with MONITOR', async () => {
      const monitor = await connect().monitor();
      const seen = new Promise((resolve) => monitor.on('monitor', (time, args, source, database) => {
        if (args[0].toLowerCase() === 'set') resolve({ args, database });
      }));
      await client.set('seen', 'by monitor');
      assert.deepEqual(await seen, { args: ['set', 'seen', 'by monitor'], database: '0' });
      monitor.disconnect();
    });

    named('says goodbye', async () => {
      const redis = connect();
      assert.equal(await redis.ping(), 'PONG');
      const ended = new Promise((resolve) => redis.on('end', resolve));
      assert.equal(await redis.quit(), 'OK');
      await ended;
      assert.equal(redis.status, 'end');
    });
  });
}
