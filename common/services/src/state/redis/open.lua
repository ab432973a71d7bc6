-- Enters a run with all stars blocked. ARGV: epoch, info as JSON, stars, phase, weight, cursor, held modules, newest
-- amendment, milliseconds in which claims are under reserve, class of each module.

if redis.call('EXISTS', INFO) == 1 then
  return 0
end
local modules = #ARGV - 9
redis.call('HSET', INFO, 'epoch', ARGV[1], 'json', ARGV[2], 'stars', ARGV[3], 'phase', ARGV[4], 'weight', ARGV[5],
  'cursor', ARGV[6], 'held', ARGV[7], 'amended', ARGV[8], 'modules', modules)
reserve_claims(ARGV[9])
for module = 0, modules - 1 do
  redis.call('HSET', INFO, 'class:' .. module, ARGV[10 + module])
  redis.call('HSET', key('counts'), module .. ':0', ARGV[3])
end
return 1
