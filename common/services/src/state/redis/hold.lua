-- Holds the tasks of these modules, and of no others. ARGV: the modules, each with a space behind; classes. What is queued
-- and not claimed goes from outbox and published to `on_hold`; what was held before and is not any more goes back to the
-- outbox, older than any age: its message is gone.

if redis.call('EXISTS', INFO) == 0 then
  return no_run()
end
redis.call('HSET', INFO, 'held', ARGV[1])
local on_hold, now = key('on_hold'), clock()
for i = 2, #ARGV do
  for _, kind in ipairs({ 'outbox:', 'published:' }) do
    local ready = key(kind .. ARGV[i])
    for _, task in ipairs(ARGV[1] == '' and {} or redis.call('ZRANGE', ready, 0, -1)) do
      if is_held(ARGV[1], string.match(task, ':(%d+)')) then
        redis.call('ZREM', ready, task)
        redis.call('ZADD', on_hold, now, task)
      end
    end
  end
end
for _, task in ipairs(redis.call('ZRANGE', on_hold, 0, -1)) do
  local module = string.match(task, ':(%d+)')
  if not is_held(ARGV[1], module) then
    redis.call('ZREM', on_hold, task)
    redis.call('ZADD', key('outbox:' .. class_of(module)), 0, task)
  end
end
return 1
