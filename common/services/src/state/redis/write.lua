-- Writes a batch of changes: row, counts, tries, details, timers, outbox, times and admission cursor together.
--
-- ARGV: epoch; milliseconds of a period in which moves are counted, and how long they are kept; where the cursor was and is
-- ('' where it is not moved); then of each change star, expected row and row after it, expected tries and tries after it, `1`
-- where the star is to be closed, the module whose lease is lost ('' for none), admission ('' for none), and five lists, each
-- after its length: module, nonce and `1` where the claim may be gone, of each task that somebody speaks of; modules to queue;
-- pairs of module and wait; pairs of module and detail; module and what it adds to each of its sums. Counts follow from the rows'
-- bytes alone, so they equal the rows (P1). Answers for each change 1; 0 where it rests on what is no longer so; 2 + 2 × module
-- where another holds a task that is spoken of, 3 + 2 × module where nobody does.
--
-- Rows are written one by one, for a later change of the batch may be of the same star; what hangs on them is collected, and
-- goes out as one call of each kind.

local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end

-- A list of so many values an entry: where it begins, where it ends, in steps of one entry.
local function take_list(width)
  local from = at + 2
  at = at + 1 + tonumber(ARGV[at + 1]) * width
  return from, at, width
end

local info = redis.call('HMGET', INFO, 'epoch', 'modules', 'stars', 'cursor', 'held')
if not info[1] then
  return no_run()
end
if info[1] ~= take() then
  return redis.error_reply('EPOCH ' .. info[1])
end
local period, kept, cursor_from, cursor_to = tonumber(take()), take(), take(), take()
local modules, stars, now = tonumber(info[2]), tonumber(info[3]), clock()
local cursor, held = tonumber(info[4]), info[5]
local has_tries = redis.call('EXISTS', key('tries')) == 1
local counted, spent, moves, has_moved = {}, {}, {}, false
local SUMS = { 'tasks', 'millis', 'found', 'warned', 'unmade' }

-- Members of sorted sets that enter, with their scores, and that leave; the last word on a member counts.
local entering, leaving = {}, {}
local function enter(set, member, score)
  entering[set] = entering[set] or {}
  entering[set][member] = score
end
local function leave(set, member)
  leaving[set] = leaving[set] or {}
  leaving[set][member] = true
  if entering[set] then
    entering[set][member] = nil
  end
end

local classes
local function of_class(kind, module)
  classes = classes or all_classes(modules)
  return kind .. classes[tonumber(module)]
end

local blocks = {}
local function write_row(star, row)
  local block = math.floor(star / BLOCK)
  if not blocks[block] then
    blocks[block] = key('rows:' .. block)
    if redis.call('EXISTS', blocks[block]) == 0 then
      -- Whole at once: a string that grows bit by bit takes up to twice its size.
      redis.call('SETRANGE', blocks[block], math.min(BLOCK, stars - block * BLOCK) * modules - 1, '\0')
    end
  end
  redis.call('SETRANGE', blocks[block], (star % BLOCK) * modules, row)
end

local function add(to, field, by)
  to[field] = (to[field] or 0) + by
end

-- Tasks that are spoken of, and leased.
local leased = {}

-- What a task leaves behind when its cell changes; each kind of entry exists in one state only. What is leased waits nowhere.
local function forget(task, module, state)
  if state == QUEUED then
    if not leased[task] then
      leave(of_class('outbox:', module), task)
      leave(of_class('published:', module), task)
      leave('on_hold', task)
    end
    leave('leases', task)
  elseif state == WAITING then
    leave('waits', task)
  end
end

local function lives(task)
  local expires = redis.call('ZSCORE', key('leases'), task)
  return expires and tonumber(expires) > now and not (leaving.leases and leaving.leases[task])
end

-- Whether somebody speaks of a task who did not claim it: nil, or the answer that says so.
local function unclaimed(name, from, to, width)
  for i = from, to, width do
    local module, task = ARGV[i], name .. ':' .. ARGV[i]
    local held = not (leaving.leases and leaving.leases[task]) and redis.call('HGET', key('lease'), task)
    if held and string.match(held, '^%d+ (%S+) ') ~= ARGV[i + 1] then
      return 2 + 2 * module
    elseif not held and ARGV[i + 2] == '0' then
      return 3 + 2 * module
    end
    leased[task] = held and true
  end
end

local function write_tries(name, before, after)
  if after ~= '' then
    redis.call('HSET', key('tries'), name, after)
    has_tries = true
  elseif before ~= '' then
    redis.call('HDEL', key('tries'), name)
  end
end

-- Counts what becomes of each cell; whether any is admitted, and all are settled, after it.
local function write_cells(name, expected, after)
  local old, new = { string.byte(expected, 1, modules) }, { string.byte(after, 1, modules) }
  local admitted, settled = false, true
  for i = 1, modules do
    local was, is = old[i], new[i]
    admitted, settled = admitted or is >= 16, settled and is >= 16 * SETTLED
    if was ~= is then
      local module, state = i - 1, math.floor(was / 16)
      forget(name .. ':' .. module, module, state)
      add(counted, module .. ':' .. state, -1)
      add(counted, module .. ':' .. math.floor(is / 16), 1)
      if state == QUEUED then
        add(moves, module .. ':left', 1)
      end
      has_moved = has_moved or is >= 16 * SETTLED
    end
  end
  return admitted, settled
end

local function leave_run(name, star, admitted)
  redis.call('UNLINK', key('star:' .. name))
  leave('in_flight', name)
  leave('closing', name)
  if not admitted then
    cursor = math.min(cursor, star)
  end
end

-- Takes a change and writes it, unless what it rests on is no longer so, or `is_void`.
local function apply(is_void)
  local name, expected, after, tries, tries_after = take(), take(), take(), take(), take()
  local close, lease_lost, admission = take() == '1', take(), take()
  local claimed = { take_list(3) }
  local queue = { take_list(1) }
  local waits = { take_list(2) }
  local details = { take_list(2) }
  local sums = { take_list(1 + #SUMS) }
  local star = tonumber(name)
  if is_void or star >= stars or #after ~= modules or read_row(star, modules) ~= expected
    or (has_tries and tries_of(name) or '') ~= tries
    or lease_lost ~= '' and lives(name .. ':' .. lease_lost) then
    return 0
  end
  local answer = unclaimed(name, unpack(claimed))
  if answer then
    return answer
  end
  local admitted, settled = write_cells(name, expected, after)
  write_row(star, after)
  write_tries(name, tries, tries_after)
  for i = sums[1], sums[2], sums[3] do
    for sum, what in ipairs(SUMS) do
      if ARGV[i + sum] ~= '0' then
        add(spent, ARGV[i] .. ':' .. what, tonumber(ARGV[i + sum]))
      end
    end
  end
  if not admitted or settled and not close then
    leave_run(name, star, admitted)
    return 1
  end
  enter('in_flight', name, star)
  local known = { unpack(ARGV, details[1], details[2]) }
  if admission ~= '' then
    known[#known + 1] = 'admission'
    known[#known + 1] = admission
  end
  if known[1] then
    redis.call('HSET', key('star:' .. name), unpack(known))
  end
  for i = queue[1], queue[2] do
    local module = ARGV[i]
    leave(of_class('published:', module), name .. ':' .. module)
    add(moves, module .. ':entered', 1)
    enter(is_held(held, module) and 'on_hold' or of_class('outbox:', module), name .. ':' .. module, now)
  end
  for i = waits[1], waits[2], waits[3] do
    enter('waits', name .. ':' .. ARGV[i], now + ARGV[i + 1])
  end
  if close then
    enter('closing', name, now)
  else
    leave('closing', name)
  end
  return 1
end

local cursor_lost = cursor_from ~= '' and tonumber(cursor_from) ~= cursor
if cursor_from ~= '' and not cursor_lost then
  cursor = tonumber(cursor_to)
end
local written = {}
while at < #ARGV do
  written[#written + 1] = apply(cursor_lost)
end

for set, members in pairs(leaving) do
  local list = {}
  for member in pairs(members) do
    list[#list + 1] = member
  end
  with_many('ZREM', key(set), list)
  if set == 'leases' then
    with_many('HDEL', key('lease'), list)
  end
end
for set, members in pairs(entering) do
  local list = {}
  for member, score in pairs(members) do
    list[#list + 1] = string.format('%.0f', score)
    list[#list + 1] = member
  end
  with_many('ZADD', key(set), list)
end
if cursor ~= tonumber(info[4]) then
  redis.call('HSET', INFO, 'cursor', cursor)
end
if has_moved then
  redis.call('HSET', INFO, 'moved', now)
end
add_up(key('counts'), counted)
add_up(key('spent'), spent)
if next(moves) then
  local moved = key('moves:' .. string.format('%.0f', now - now % period))
  add_up(moved, moves)
  redis.call('PEXPIRE', moved, kept)
end
return written
