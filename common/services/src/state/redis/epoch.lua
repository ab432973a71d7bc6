-- Begins an epoch where the state holds an older one. KEYS: the epoch. ARGV: the new one. Answers with the one in force.

local now = tonumber(redis.call('GET', KEYS[1]) or 0)
if now < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1])
  return tonumber(ARGV[1])
end
return now
