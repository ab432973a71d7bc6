-- Outbox entries of an age. ARGV: age in milliseconds, limit, classes. Answers with time, task, attempt and class of each,
-- at most `limit` of a class, oldest of the class first.

if redis.call('EXISTS', INFO) == 0 then
  return no_run()
end
local found, before = {}, clock() - tonumber(ARGV[1])
for i = 3, #ARGV do
  local entries = redis.call('ZRANGEBYSCORE', key('outbox:' .. ARGV[i]), '-inf', before, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
  for j = 1, #entries, 2 do
    local star, module = string.match(entries[j], '(%d+):(%d+)')
    table.insert(found, { entries[j + 1], entries[j], attempt_in(tries_of(star), module), ARGV[i] })
  end
end
return found
