-- Rows and tries of stars. ARGV: the stars. Answers with a row and tries for each.

local modules = tonumber(redis.call('HGET', INFO, 'modules'))
if not modules then
  return no_run()
end
local found = {}
for i, star in ipairs(ARGV) do
  found[2 * i - 1] = read_row(tonumber(star), modules)
  found[2 * i] = tries_of(star)
end
return found
