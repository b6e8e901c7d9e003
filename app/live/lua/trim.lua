-- Forget the events of a run's live log that SQL holds.
--
-- KEYS[1]  stream of the run
-- KEYS[2]  top: hash of token, epoch, seq, floor, server (see append.lua)
-- ARGV     token, archived_seq
--
-- Returns  "fenced"   a higher token has written: nothing is done
--          "missing"  nothing is held for the run
--          "ok"       the stream holds what follows `floor`, which is archived_seq unless it was higher already

local top = redis.call('HMGET', KEYS[2], 'token', 'epoch', 'seq', 'floor')
if not top[1] then return 'missing' end
if tonumber(ARGV[1]) < tonumber(top[1]) then return 'fenced' end

local floor = math.min(tonumber(ARGV[2]), tonumber(top[3]))
if floor > tonumber(top[4]) then
  redis.call('XTRIM', KEYS[1], 'MINID', string.format('%s-%.0f', top[2], floor + 1))
  redis.call('HSET', KEYS[2], 'floor', string.format('%.0f', floor))
end
return 'ok'
