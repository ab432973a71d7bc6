-- Notes the newest decision that amends the run's images; it only grows. ARGV: its number.

local amended = redis.call('HMGET', INFO, 'epoch', 'amended')
if not amended[1] then
  return no_run()
end
if tonumber(ARGV[1]) > tonumber(amended[2] or 0) then
  redis.call('HSET', INFO, 'amended', ARGV[1])
end
return 1
