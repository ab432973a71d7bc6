-- The rows of a block of stars, those that were never written as zeros. ARGV: the number of the block.

local info = redis.call('HMGET', INFO, 'modules', 'stars')
if not info[1] then
  return no_run()
end
local stars = math.max(0, math.min(BLOCK, tonumber(info[2]) - ARGV[1] * BLOCK))
local rows = redis.call('GET', key('rows:' .. ARGV[1])) or ''
return rows .. string.rep('\0', stars * info[1] - #rows)
