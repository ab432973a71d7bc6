-- Asks for attempts. ARGV: epoch, worker, lease in milliseconds, `active`, then of each wish star, module, attempt, nonce and the
-- modules that it reads, each with a space behind. Answers for each with a refusal's word, or `granted`, row, tries, newest
-- amendment, milliseconds that it was ready ('' where that is not known), milliseconds that it is under reserve, admission and
-- the detail of each module that it reads ('' where nothing is known). What all wishes need is one call for all.

local WISH = 5
local wishes = (#ARGV - 4) / WISH
local info = redis.call('HMGET', INFO, 'epoch', 'modules', 'stars', 'phase', 'held', 'amended', 'lease', 'reserve', 'begun')
local answers = {}

local function refuse_all(word)
  for i = 1, wishes do
    answers[i] = { word }
  end
  return answers
end

if not info[1] then
  return refuse_all('no_run')
end
if tonumber(ARGV[1]) < tonumber(info[1]) then
  return refuse_all('stale')
elseif tonumber(ARGV[1]) > tonumber(info[1]) then
  return redis.error_reply('EPOCH ' .. info[1])
elseif wishes == 0 then
  return answers
end
local modules, stars, now = tonumber(info[2]), tonumber(info[3]), clock()
-- As text once: formatting a number costs as much as a call.
local since, until_then = string.format('%.0f', now), string.format('%.0f', now + ARGV[3])
local has_tries = redis.call('EXISTS', key('tries')) == 1
local is_active, amended = info[4] == ARGV[4], info[6] or '0'
local classes = all_classes(modules)
-- Where the clock was set back since, no longer than it was to be in all.
local reserved_until, begun = tonumber(info[8] or 0), tonumber(info[9] or 0)
local reserve = string.format('%.0f', math.max(math.min(reserved_until - now, reserved_until - begun), 0))

local tasks = {}
for i = 1, wishes do
  local at = 4 + (i - 1) * WISH
  tasks[i] = ARGV[at + 1] .. ':' .. ARGV[at + 2]
end
local expires = redis.call('ZMSCORE', key('leases'), unpack(tasks))
local announced = redis.call('EXISTS', key('announced')) == 1 and redis.call('HMGET', key('announced'), unpack(tasks)) or {}

-- Row and tries of a star; a star of many wishes is read once.
local rows, all_tries = {}, {}
local function read_star(star)
  if not rows[star] then
    rows[star], all_tries[star] = read_row(star, modules), has_tries and tries_of(star) or ''
  end
  return rows[star], all_tries[star]
end

-- Why a wish is not granted; nil where it is, with row and tries. `granted` are those of this call so far, by task.
local granted = {}
local function refusal(i, star, module, attempt, nonce)
  if star >= stars or module >= modules then
    return 'stale'
  end
  local row, tries = read_star(star)
  if string.byte(row, module + 1) ~= QUEUED * 16 + attempt % 16 or attempt_in(tries, module) ~= attempt then
    return 'stale'
  end
  local _, kept_for = announced_in(announced[i], now)
  if kept_for and kept_for ~= nonce then
    return 'held'
  elseif granted[tasks[i]] then
    return granted[tasks[i]] ~= nonce and 'held' or nil, row, tries
  elseif expires[i] and tonumber(expires[i]) > now then
    local held = redis.call('HGET', key('lease'), tasks[i]) or ''
    if string.match(held, '^%d+ (%S+) ') ~= nonce then
      return 'held'
    end
  elseif not kept_for and not is_active then
    return 'not_active'
  elseif not kept_for and is_held(info[5], module) then
    return 'on_hold'
  end
  return nil, row, tries
end

-- Admission of a star and details of these modules, '' where nothing is known.
local known = {}
local function known_of(star, reads)
  local name = star .. ' ' .. reads
  if not known[name] then
    local fields = { 'admission' }
    for module in string.gmatch(reads, '%d+') do
      fields[#fields + 1] = module
    end
    local values = redis.call('HMGET', key('star:' .. star), unpack(fields))
    for i = 1, #fields do
      values[i] = values[i] or ''
    end
    known[name] = values
  end
  return known[name]
end

local by_class = {}
for i = 1, wishes do
  local at = 4 + (i - 1) * WISH
  local star, module, attempt, nonce = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local word, row, tries = refusal(i, tonumber(star), tonumber(module), tonumber(attempt), nonce)
  if word then
    answers[i] = { word }
  else
    local _, kept_for = announced_in(announced[i], now)
    local answer = { 'granted', row, tries, amended, '', kept_for and '0' or reserve }
    for i, value in ipairs(known_of(star, ARGV[at + 5])) do
      answer[6 + i] = value
    end
    if kept_for then
      redis.call('HDEL', key('announced'), tasks[i])
      redis.call('ZREM', key('on_hold'), tasks[i])
    end
    answers[i] = answer
    granted[tasks[i]] = nonce
    local name = classes[tonumber(module)]
    local class = by_class[name] or { tasks = {}, answers = {}, leases = {}, fences = {} }
    by_class[name] = class
    local n = #class.tasks + 1
    class.tasks[n], class.answers[n] = tasks[i], answer
    class.leases[2 * n - 1], class.leases[2 * n] = until_then, tasks[i]
    class.fences[2 * n - 1] = tasks[i]
    class.fences[2 * n] = attempt .. ' ' .. nonce .. ' @' .. since .. ' ' .. ARGV[2]
  end
end

for class, of in pairs(by_class) do
  local published = redis.call('ZMSCORE', key('published:' .. class), unpack(of.tasks))
  local outbox = redis.call('ZMSCORE', key('outbox:' .. class), unpack(of.tasks))
  for n, answer in ipairs(of.answers) do
    local ready = tonumber(published[n] or outbox[n] or 0)
    answer[5] = ready > 0 and string.format('%.0f', math.max(now - ready, 0)) or ''
  end
  redis.call('ZREM', key('outbox:' .. class), unpack(of.tasks))
  redis.call('ZREM', key('published:' .. class), unpack(of.tasks))
  -- Of a module that is held no more, whose tasks are still on their way back.
  redis.call('ZREM', key('on_hold'), unpack(of.tasks))
  redis.call('ZADD', key('leases'), unpack(of.leases))
  redis.call('HSET', key('lease'), unpack(of.fences))
end

if next(by_class) and tonumber(ARGV[3]) > tonumber(info[7] or 0) then
  redis.call('HSET', INFO, 'lease', ARGV[3])
end
return answers
