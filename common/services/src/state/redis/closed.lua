-- Star files are built: forgets what is known of stars in flight, each unless its row is another by now. ARGV: star and row of
-- each. Answers for each 1, or 0 where it is another.

local info = redis.call('HMGET', INFO, 'modules', 'stars')
if not info[1] then
  return no_run()
end
local modules, stars, answers, closed, details = tonumber(info[1]), tonumber(info[2]), {}, {}, {}
for i = 1, #ARGV, 2 do
  local star = tonumber(ARGV[i])
  local is_closed = star < stars and read_row(star, modules) == ARGV[i + 1]
  answers[#answers + 1] = is_closed and 1 or 0
  if is_closed then
    closed[#closed + 1] = ARGV[i]
    details[#details + 1] = key('star:' .. ARGV[i])
  end
end
for from = 1, #details, AT_ONCE do
  redis.call('UNLINK', unpack(details, from, math.min(from + AT_ONCE - 1, #details)))
end
with_many('ZREM', key('in_flight'), closed)
with_many('ZREM', key('closing'), closed)
return answers
