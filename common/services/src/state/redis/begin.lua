-- A run follows the state into a later epoch: what is claimed of it is under reserve for a while. ARGV: the epoch, that while in
-- milliseconds.

local epoch = redis.call('HGET', INFO, 'epoch')
if epoch and tonumber(epoch) < tonumber(ARGV[1]) then
  redis.call('HSET', INFO, 'epoch', ARGV[1])
  reserve_claims(ARGV[2])
end
return 1
