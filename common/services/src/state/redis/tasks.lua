-- Tasks that are open. ARGV: the place, limit, classes. Answers with task, attempt, the time at which it came there or is due,
-- and its lease of each, the first ones of each class in no order; of what runs all, for leases are not kept in the order in
-- which they were claimed.

if redis.call('EXISTS', INFO) == 0 then
  return no_run()
end
local place, found = ARGV[1], {}

local function look(set)
  local entries = redis.call('ZRANGE', key(set), 0, tonumber(ARGV[2]) - 1, 'WITHSCORES')
  for i = 1, #entries, 2 do
    local star, module = string.match(entries[i], '(%d+):(%d+)')
    table.insert(found, { entries[i], attempt_in(tries_of(star), module), entries[i + 1], '' })
  end
end

if tonumber(ARGV[2]) == 0 then
  return found
elseif place == 'running' then
  for _, task in ipairs(redis.call('ZRANGEBYSCORE', key('leases'), '(' .. clock(), '+inf')) do
    table.insert(found, { task, 0, '0', redis.call('HGET', key('lease'), task) or '' })
  end
elseif place == 'queued' then
  for i = 3, #ARGV do
    look('outbox:' .. ARGV[i])
    look('published:' .. ARGV[i])
  end
elseif place == 'on_hold' then
  look('on_hold')
elseif place == 'waiting' then
  look('waits')
end
return found
