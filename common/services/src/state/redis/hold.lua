-- Says which modules are held: claims of their tasks are refused from now on, and what is queued of them is put aside. ARGV: the
-- modules, each with a space behind; `begin`, before what was queued earlier is moved (`move.lua`), or `end`, after it.

if redis.call('EXISTS', INFO) == 0 then
  return no_run()
end
if ARGV[2] == 'begin' then
  redis.call('HSET', INFO, 'held', ARGV[1], 'moving', '1')
elseif redis.call('HGET', INFO, 'held') == ARGV[1] then
  redis.call('HDEL', INFO, 'moving')
end
return 1
