-- Everything about one star. ARGV: the star. Answers with row, tries, details and admission, and pairs of a module that
-- runs and its lease.

local modules = tonumber(redis.call('HGET', INFO, 'modules'))
if not modules then
  return no_run()
end
local star, now = tonumber(ARGV[1]), clock()
local row, running = read_row(star, modules), {}
for module = 0, modules - 1 do
  local task = star .. ':' .. module
  local expires = redis.call('ZSCORE', key('leases'), task)
  if expires and tonumber(expires) > now then
    table.insert(running, module)
    table.insert(running, redis.call('HGET', key('lease'), task) or '')
  end
end
return { row, tries_of(star), redis.call('HGETALL', key('star:' .. star)), running }
