-- A run follows the state into a later epoch. ARGV: the epoch.

local epoch = redis.call('HGET', INFO, 'epoch')
if epoch and tonumber(epoch) < tonumber(ARGV[1]) then
  redis.call('HSET', INFO, 'epoch', ARGV[1])
end
return 1
