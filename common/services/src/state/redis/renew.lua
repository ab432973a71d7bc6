-- Renews leases. ARGV: lease in milliseconds, then task, attempt and nonce of each. Answers 1 or 0 for each. A lease that
-- ran out lives again as long as nobody acted upon that.

local expires, renewed = clock() + tonumber(ARGV[1]), {}
for i = 2, #ARGV, 3 do
  local task, fence = ARGV[i], ARGV[i + 1] .. ' ' .. ARGV[i + 2] .. ' '
  local held = redis.call('HGET', key('lease'), task)
  local mine = held and string.sub(held, 1, #fence) == fence
  if mine then
    redis.call('ZADD', key('leases'), expires, task)
  end
  table.insert(renewed, mine and 1 or 0)
end
return renewed
