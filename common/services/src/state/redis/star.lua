-- Everything about one star. ARGV: the star. Answers with row, tries, details and admission, pairs of a module that runs
-- and its lease, and pairs of a module that waits and when it is due.

local modules = tonumber(redis.call('HGET', INFO, 'modules'))
if not modules then
  return no_run()
end
local star, now = tonumber(ARGV[1]), clock()
local row, running, due, tasks = read_row(star, modules), {}, {}, {}
for module = 0, modules - 1 do
  tasks[module + 1] = star .. ':' .. module
end
local leases = redis.call('ZMSCORE', key('leases'), unpack(tasks))
for module = 0, modules - 1 do
  local task, expires = tasks[module + 1], leases[module + 1]
  if expires and tonumber(expires) > now then
    table.insert(running, module)
    table.insert(running, redis.call('HGET', key('lease'), task) or '')
  end
  local at = math.floor(string.byte(row, module + 1) / 16) == WAITING and redis.call('ZSCORE', key('waits'), task)
  if at then
    table.insert(due, module)
    table.insert(due, at)
  end
end
return { row, tries_of(star), redis.call('HGETALL', key('star:' .. star)), running, due }
