-- Calls every command that scripts of runs call, on what is of no use and lives for a minute: an error says that there is one which
-- Redis does not do. KEYS: two that nobody else uses; a hash and a sorted set in the end. Answers with 1.

local one, two = KEYS[1], KEYS[2]
redis.call('UNLINK', one, two)
redis.call('SET', one, 'probe')
redis.call('GET', one)
redis.call('SETRANGE', one, 0, 'p')
redis.call('GETRANGE', one, 0, 0)
redis.call('EXISTS', one)
redis.call('DEL', one)

local now = redis.call('TIME')[1]
redis.call('HSET', one, 'probe', now, 'gone', now)
redis.call('HDEL', one, 'gone')
redis.call('HGET', one, 'probe')
redis.call('HMGET', one, 'probe')
redis.call('HGETALL', one)

redis.call('ZADD', two, now, 'probe', now, 'gone')
redis.call('ZREM', two, 'gone')
redis.call('ZUNIONSTORE', two, 1, two)
redis.call('ZCARD', two)
redis.call('ZCOUNT', two, '-inf', '+inf')
redis.call('ZSCORE', two, 'probe')
redis.call('ZMSCORE', two, 'probe')
redis.call('ZRANGE', two, 0, 0)
redis.call('ZRANGEBYSCORE', two, '-inf', '+inf', 'LIMIT', 0, 1)
redis.call('ZSCAN', two, 0, 'COUNT', 1)

for _, probed in ipairs(KEYS) do
  redis.call('PEXPIRE', probed, 60000)
  redis.call('PTTL', probed)
end
return 1
