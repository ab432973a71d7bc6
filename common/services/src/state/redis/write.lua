-- Writes a batch of changes: row, counts, tries, details, timers, outbox, times and admission cursor together.
--
-- ARGV[1] is JSON: epoch, cursor (from, to), changes; ARGV[2], ARGV[3], ... are the expected row and the row after it of
-- each change; last, milliseconds of a period in which moves are counted, and how long they are kept. Counts follow from those bytes alone, so they equal the rows (P1). Answers 1 or 0 for each change.

local batch = cjson.decode(ARGV[1])
local info = redis.call('HMGET', INFO, 'epoch', 'modules', 'stars', 'cursor', 'held')
if not info[1] then
  return no_run()
end
if tonumber(info[1]) ~= batch.epoch then
  return redis.error_reply('EPOCH ' .. info[1])
end
local modules, stars, now = tonumber(info[2]), tonumber(info[3]), clock()
local cursor = tonumber(info[4])
local classes, counted, spent, moves, has_moved = {}, {}, {}, {}, false
local period, kept = tonumber(ARGV[#ARGV - 1]), ARGV[#ARGV]

local function class_key(kind, module)
  classes[module] = classes[module] or class_of(module)
  return key(kind .. ':' .. classes[module])
end

local function write_row(star, row)
  local block = math.floor(star / BLOCK)
  local rows = key('rows:' .. block)
  if redis.call('EXISTS', rows) == 0 then
    -- Whole at once: a string that grows bit by bit takes up to twice its size.
    redis.call('SETRANGE', rows, math.min(BLOCK, stars - block * BLOCK) * modules - 1, '\0')
  end
  redis.call('SETRANGE', rows, (star % BLOCK) * modules, row)
end

local function count(module, state, by)
  local field = module .. ':' .. state
  counted[field] = (counted[field] or 0) + by
end

-- An attempt that became ready, or ended.
local function move(module, how)
  local field = module .. ':' .. how
  moves[field] = (moves[field] or 0) + 1
end

-- What an attempt adds to what its module took.
local function spend(module, what, by)
  if by > 0 then
    local field = module .. ':' .. what
    spent[field] = (spent[field] or 0) + by
  end
end

-- What a task leaves behind when its cell changes; each kind of entry exists in one state only.
local function forget(task, module, state)
  if state == QUEUED then
    redis.call('ZREM', class_key('outbox', module), task)
    redis.call('ZREM', class_key('published', module), task)
    redis.call('ZREM', key('on_hold'), task)
    redis.call('ZREM', key('leases'), task)
    redis.call('HDEL', key('lease'), task)
  elseif state == WAITING then
    redis.call('ZREM', key('waits'), task)
  end
end

local function lives(task)
  local expires = redis.call('ZSCORE', key('leases'), task)
  return expires and tonumber(expires) > now
end

local function apply(change, expected, after)
  local star = change.star
  if star >= stars or #after ~= modules or read_row(star, modules) ~= expected then
    return 0
  end
  if change.lease_lost and lives(star .. ':' .. change.lease_lost) then
    return 0
  end
  local admitted, settled = false, true
  for module = 0, modules - 1 do
    local old, new = string.byte(expected, module + 1), string.byte(after, module + 1)
    admitted, settled = admitted or new >= 16, settled and new >= 16 * SETTLED
    if old ~= new then
      local state = math.floor(old / 16)
      forget(star .. ':' .. module, module, state)
      count(module, state, -1)
      count(module, math.floor(new / 16), 1)
      if state == QUEUED then
        move(module, 'left')
      end
      has_moved = has_moved or new >= 16 * SETTLED
    end
  end
  write_row(star, after)
  for _, took in ipairs(change.spent) do
    for at, what in ipairs({'tasks', 'millis', 'found', 'warned', 'unmade'}) do
      spend(took[1], what, took[2][at])
    end
  end
  if change.tries ~= '' then
    redis.call('HSET', key('tries'), star, change.tries)
  else
    redis.call('HDEL', key('tries'), star)
  end
  if not admitted or settled and not change.close then
    redis.call('UNLINK', key('star:' .. star))
    redis.call('ZREM', key('in_flight'), star)
    redis.call('ZREM', key('closing'), star)
    if not admitted then
      cursor = math.min(cursor, star)
    end
    return 1
  end
  redis.call('ZADD', key('in_flight'), star, star)
  for _, detail in ipairs(change.details) do
    redis.call('HSET', key('star:' .. star), detail[1], detail[2])
  end
  if change.admission then
    redis.call('HSET', key('star:' .. star), 'admission', change.admission)
  end
  for _, module in ipairs(change.queue) do
    redis.call('ZREM', class_key('published', module), star .. ':' .. module)
    move(module, 'entered')
    local queue = is_held(info[5], module) and key('on_hold') or class_key('outbox', module)
    redis.call('ZADD', queue, now, star .. ':' .. module)
  end
  for _, wait in ipairs(change.wait) do
    redis.call('ZADD', key('waits'), now + wait[2], star .. ':' .. wait[1])
  end
  if change.close then
    redis.call('ZADD', key('closing'), now, star)
  else
    redis.call('ZREM', key('closing'), star)
  end
  return 1
end

local cursor_lost = batch.cursor and batch.cursor[1] ~= cursor
if batch.cursor and not cursor_lost then
  cursor = batch.cursor[2]
end
local written = {}
for i, change in ipairs(batch.changes) do
  written[i] = cursor_lost and 0 or apply(change, ARGV[2 * i], ARGV[2 * i + 1])
end
if cursor ~= tonumber(info[4]) then
  redis.call('HSET', INFO, 'cursor', cursor)
end
if has_moved then
  redis.call('HSET', INFO, 'moved', now)
end
for field, by in pairs(counted) do
  if by ~= 0 then
    redis.call('HINCRBY', key('counts'), field, by)
  end
end
if next(moves) then
  local moved = key('moves:' .. string.format('%.0f', now - now % period))
  for field, by in pairs(moves) do
    redis.call('HINCRBY', moved, field, by)
  end
  redis.call('PEXPIRE', moved, kept)
end
for field, by in pairs(spent) do
  redis.call('HINCRBY', key('spent'), field, string.format('%.0f', by))
end
return written
