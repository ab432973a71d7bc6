-- Where the tasks of a run are. ARGV: entries of a sorted set that are looked through, milliseconds of a period, how many
-- periods, classes. Answers with held modules, counts, pairs of module and whether its lease lives, pairs of module and the time
-- since when its oldest task is ready, the same of when the next one is due, and of each whole period its beginning and moves.

local held = redis.call('HMGET', INFO, 'phase', 'held')
if not held[1] then
  return no_run()
end
local now, most = clock(), tonumber(ARGV[1]) - 1
local leases, oldest, due, periods = {}, {}, {}, {}

local function module_of(task)
  return tonumber(string.match(task, ':(%d+)'))
end

-- The first of each module; one without a time says nothing.
local function first_of(found, entries)
  for i = 1, #entries, 2 do
    local module, at = module_of(entries[i]), tonumber(entries[i + 1])
    if at > 0 and (not found[module] or at < found[module]) then
      found[module] = at
    end
  end
end

local function pairs_of(found)
  local list = {}
  for module, at in pairs(found) do
    table.insert(list, { module, string.format('%.0f', at) })
  end
  return list
end

local claimed = redis.call('ZRANGE', key('leases'), 0, -1, 'WITHSCORES')
for i = 1, #claimed, 2 do
  table.insert(leases, { module_of(claimed[i]), tonumber(claimed[i + 1]) > now and 1 or 0 })
end
for i = 4, #ARGV do
  for _, set in ipairs({ 'outbox:', 'published:' }) do
    first_of(oldest, redis.call('ZRANGEBYSCORE', key(set .. ARGV[i]), '(0', '+inf', 'WITHSCORES', 'LIMIT', 0, most + 1))
  end
end
first_of(due, redis.call('ZRANGE', key('waits'), 0, most, 'WITHSCORES'))
local period = math.floor(now / ARGV[2])
for back = tonumber(ARGV[3]), 1, -1 do
  local from = string.format('%.0f', (period - back) * ARGV[2])
  table.insert(periods, { from, redis.call('HGETALL', key('moves:' .. from)) })
end
return { held[2] or '', redis.call('HGETALL', key('counts')), leases, pairs_of(oldest), pairs_of(due), periods }
