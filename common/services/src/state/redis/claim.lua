-- Asks for an attempt. ARGV: epoch, star, module, attempt, nonce, worker, lease in milliseconds, `active`, upstream modules.
-- Answers with a refusal's word, or `granted`, row, tries, newest amendment, milliseconds that it was
-- ready ('' where that is not known), admission and the detail of each upstream module ('' where
-- nothing is known).

local info = redis.call('HMGET', INFO, 'epoch', 'modules', 'stars', 'phase', 'held', 'amended', 'lease')
if not info[1] then
  return { 'no_run' }
end
if tonumber(ARGV[1]) < tonumber(info[1]) then
  return { 'stale' }
elseif tonumber(ARGV[1]) > tonumber(info[1]) then
  return redis.error_reply('EPOCH ' .. info[1])
end
local modules, star, module, attempt = tonumber(info[2]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if star >= tonumber(info[3]) or module >= modules then
  return { 'stale' }
end
local row, tries, now = read_row(star, modules), tries_of(star), clock()
if string.byte(row, module + 1) ~= QUEUED * 16 + attempt % 16 or attempt_in(tries, module) ~= attempt then
  return { 'stale' }
end

local task = star .. ':' .. module
local expires = redis.call('ZSCORE', key('leases'), task)
if expires and tonumber(expires) > now then
  local held = redis.call('HGET', key('lease'), task) or ''
  if string.match(held, '^%d+ (%S+) ') ~= ARGV[5] then
    return { 'held' }
  end
elseif info[4] ~= ARGV[8] then
  return { 'not_active' }
elseif is_held(info[5], module) then
  return { 'on_hold' }
end
local class = class_of(module)
local since = redis.call('ZSCORE', key('published:' .. class), task) or redis.call('ZSCORE', key('outbox:' .. class), task)
local waited = since and tonumber(since) > 0 and string.format('%.0f', math.max(now - since, 0)) or ''
redis.call('ZREM', key('outbox:' .. class), task)
redis.call('ZREM', key('published:' .. class), task)
redis.call('ZADD', key('leases'), now + tonumber(ARGV[7]), task)
redis.call('HSET', key('lease'), task, attempt .. ' ' .. ARGV[5] .. ' @' .. now .. ' ' .. ARGV[6])

if tonumber(ARGV[7]) > tonumber(info[7] or 0) then
  redis.call('HSET', INFO, 'lease', ARGV[7])
end

local known = redis.call('HMGET', key('star:' .. star), 'admission', unpack(ARGV, 9))
local granted = { 'granted', row, tries, info[6] or '0', waited }
for i = 1, #ARGV - 7 do
  granted[5 + i] = known[i] or ''
end
return granted
