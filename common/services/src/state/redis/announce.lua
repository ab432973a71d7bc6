-- Somebody runs tasks of which this run knows nothing: the claims were lost with an earlier life of it. ARGV: lease in
-- milliseconds, then star, module, attempt and nonce of each. Answers for each -1 where the attempt must be stopped, else the
-- attempt as which the task is queued, 0 where it is not queued: for as long as the lease nobody else may claim it then.
--
-- Attempts of a task never go back in one life of a run: an attempt that is newer than the row's is of an earlier life. So is whatever
-- runs under reserve: nothing was begun in this life, and a newer attempt that is queued was claimed and given back.

local info = redis.call('HMGET', INFO, 'modules', 'stars', 'reserve', 'held')
if not info[1] then
  return no_run()
end
local modules, stars, now = tonumber(info[1]), tonumber(info[2]), clock()
local is_reserved, answers = tonumber(info[3] or 0) > now, {}

local function announce(star, module, attempt, nonce)
  local task = star .. ':' .. module
  if tonumber(star) >= stars or tonumber(module) >= modules then
    return -1
  end
  local cell = string.byte(read_row(tonumber(star), modules), module + 1)
  local state, known = math.floor(cell / 16), string.match(' ' .. tries_of(star), ' ' .. module .. ':(%d+):')
  local current = known and tonumber(known) or (cell % 16 == 0 and 0 or 1)
  local is_given_back = is_reserved and state == QUEUED
  if state >= SETTLED or current > attempt and not is_given_back or current == attempt and state ~= QUEUED then
    return -1
  end
  local expires = redis.call('ZSCORE', key('leases'), task)
  local is_others = expires and tonumber(expires) > now
    and string.match(redis.call('HGET', key('lease'), task) or '', '^%d+ (%S+) ') ~= nonce
  local other, others_nonce = announced_in(redis.call('HGET', key('announced'), task), now)
  if is_others and not is_reserved or other and others_nonce ~= nonce and other >= attempt then
    return -1
  end
  if is_others then
    -- Who claimed it has not begun.
    redis.call('ZREM', key('leases'), task)
    redis.call('HDEL', key('lease'), task)
    redis.call('ZADD', is_held(info[4], module) and key('on_hold') or key('published:' .. class_of(module)), now, task)
  end
  local entry = string.format('%.0f', now + ARGV[1]) .. ' ' .. attempt .. ' ' .. nonce
  redis.call('HSET', key('announced'), task, entry)
  return state == QUEUED and current or 0
end

for i = 2, #ARGV, 4 do
  answers[#answers + 1] = announce(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3])
end
if redis.call('PTTL', key('announced')) < tonumber(ARGV[1]) then
  redis.call('PEXPIRE', key('announced'), ARGV[1])
end
return answers
