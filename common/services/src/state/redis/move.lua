-- Puts entries of a set where they belong since other modules are held, some of them at a time: from `outbox:…` and `published:…`
-- to `on_hold` where their module is held, from `on_hold` to the outbox where it is not any more, older than any age, for the
-- message is gone. ARGV: the set, where to go on, how many about. Answers where the next call goes on; `0`: that was all.

local held = redis.call('HGET', INFO, 'held')
if not held then
  return no_run()
end
local from, now, moved, entering = ARGV[1], clock(), {}, {}
local next, entries = unpack(redis.call('ZSCAN', key(from), ARGV[2], 'COUNT', ARGV[3]))
for i = 1, #entries, 2 do
  local task, module = entries[i], string.match(entries[i], ':(%d+)')
  if from ~= 'on_hold' and is_held(held, module) then
    moved[#moved + 1] = task
    entering[#entering + 1] = string.format('%.0f', now)
    entering[#entering + 1] = task
  elseif from == 'on_hold' and not is_held(held, module) then
    moved[#moved + 1] = task
    redis.call('ZADD', key('outbox:' .. class_of(module)), 0, task)
  end
end
with_many('ZREM', key(from), moved)
with_many('ZADD', key('on_hold'), entering)
return next
