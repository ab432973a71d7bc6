-- The star file is built: forgets what is known of a star in flight, unless its row is another by now. ARGV: star, row.

local info = redis.call('HMGET', INFO, 'modules', 'stars')
if not info[1] then
  return no_run()
end
local star = tonumber(ARGV[1])
if star >= tonumber(info[2]) or read_row(star, tonumber(info[1])) ~= ARGV[2] then
  return 0
end
redis.call('UNLINK', key('star:' .. star))
redis.call('ZREM', key('in_flight'), star)
redis.call('ZREM', key('closing'), star)
return 1
