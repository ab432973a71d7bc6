-- What every script of a run begins with. KEYS[1] is the run's `info`; every other key of the run has the same hash tag
-- and is named from it. Errors that callers know: NORUN, and EPOCH with the epoch in force.

local INFO = KEYS[1]
local PREFIX = string.sub(INFO, 1, -5)
local BLOCK = 4096 -- stars in one string of rows
local QUEUED, WAITING, SETTLED = 1, 2, 3 -- states as in the high four bits of a row's byte; from SETTLED on they are the end

local function key(name)
  return PREFIX .. name
end

-- Milliseconds: the one clock of leases, waits and ages.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- From now on claims are under reserve for so many milliseconds: who runs what the state does not know says so meanwhile.
local function reserve_claims(millis)
  local now = clock()
  redis.call('HSET', INFO, 'begun', string.format('%.0f', now), 'reserve', string.format('%.0f', now + millis))
end

-- Most arguments of one call.
local AT_ONCE = 1000

-- A command about many members of a key, or pairs, in as few calls as may be.
local function with_many(command, of, arguments)
  for from = 1, #arguments, AT_ONCE do
    redis.call(command, of, unpack(arguments, from, math.min(from + AT_ONCE - 1, #arguments)))
  end
end

-- Adds to fields of a hash, all in two calls.
local function add_up(of, by_field)
  local fields = {}
  for field, by in pairs(by_field) do
    if by ~= 0 then
      fields[#fields + 1] = field
    end
  end
  for from = 1, #fields, AT_ONCE / 2 do
    local to = math.min(from + AT_ONCE / 2 - 1, #fields)
    local values = {}
    for i, old in ipairs(redis.call('HMGET', of, unpack(fields, from, to))) do
      local field = fields[from + i - 1]
      values[#values + 1] = field
      values[#values + 1] = string.format('%.0f', tonumber(old or 0) + by_field[field])
    end
    redis.call('HSET', of, unpack(values))
  end
end

local function no_run()
  return redis.error_reply('NORUN the run is not in the state')
end

-- A row that was never written is all zero.
local function read_row(star, modules)
  local at = (star % BLOCK) * modules
  local row = redis.call('GETRANGE', key('rows:' .. math.floor(star / BLOCK)), at, at + modules - 1)
  return row .. string.rep('\0', modules - #row)
end

-- `tries` of a star is `module:attempt:science:platform`, joined by spaces; only tasks with more than one try are there.
local function tries_of(star)
  return redis.call('HGET', key('tries'), star) or ''
end

local function attempt_in(tries, module)
  if tries == '' then
    return 1
  end
  return tonumber(string.match(' ' .. tries, ' ' .. module .. ':(%d+):') or 1)
end

-- Attempt and nonce of whoever says that it runs a task, from `until attempt nonce`; nil where nobody does any more.
local function announced_in(entry, now)
  local till, attempt, nonce = string.match(entry or '', '^(%d+) (%d+) (%S+)$')
  if till and tonumber(till) > now then
    return tonumber(attempt), nonce
  end
end

-- Whether operators hold a module; `held` in `info` has each of them with a space behind.
local function is_held(held, module)
  return string.find(' ' .. (held or ''), ' ' .. module .. ' ', 1, true) ~= nil
end

local function class_of(module)
  return redis.call('HGET', INFO, 'class:' .. module)
end

-- The classes of all modules by number, in one call.
local function all_classes(modules)
  local fields, classes = {}, {}
  for module = 0, modules - 1 do
    fields[module + 1] = 'class:' .. module
  end
  for i, class in ipairs(redis.call('HMGET', INFO, unpack(fields))) do
    classes[i - 1] = class
  end
  return classes
end

-- At most `limit` members of a timer that went off, the longest overdue first.
local function overdue(timer, before, limit)
  return redis.call('ZRANGEBYSCORE', key(timer), '-inf', before, 'LIMIT', 0, limit)
end
