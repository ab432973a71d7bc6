-- Messages that the broker confirmed: from the outbox to published. ARGV: star, module, attempt and class of each. A task
-- that was claimed in the meantime, or is on another attempt, is left alone.

if redis.call('EXISTS', INFO) == 0 then
  return no_run()
end
local now, has_tries, by_class = clock(), redis.call('EXISTS', key('tries')) == 1, {}
for i = 1, #ARGV, 4 do
  local star, module, attempt, class = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  if attempt_in(has_tries and tries_of(star) or '', module) == attempt then
    by_class[class] = by_class[class] or {}
    table.insert(by_class[class], star .. ':' .. module)
  end
end
for class, tasks in pairs(by_class) do
  local there, marks = {}, {}
  for from = 1, #tasks, AT_ONCE do
    local to = math.min(from + AT_ONCE - 1, #tasks)
    for i, since in ipairs(redis.call('ZMSCORE', key('outbox:' .. class), unpack(tasks, from, to))) do
      if since then
        there[#there + 1] = tasks[from + i - 1]
        marks[#marks + 1] = now
        marks[#marks + 1] = tasks[from + i - 1]
      end
    end
  end
  with_many('ZREM', key('outbox:' .. class), there)
  with_many('ZADD', key('published:' .. class), marks)
end
return 1
