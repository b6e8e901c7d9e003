-- Begin a run's live log anew: it holds nothing up to `floor`, and `floor + 1` comes next.
--
-- KEYS[1]  stream of the run
-- KEYS[2]  top: hash of token, epoch, seq, floor, server (see append.lua)
-- ARGV     token, epoch, floor, ttl_ms, channel, server (identity of the server as the writer knows it)
--
-- Returns  "fenced"  a higher token has written: nothing is done
--          "ok"
--
-- Announcement: "<epoch> <floor>" without payloads, so that readers notice a new epoch at once.

local token = redis.call('HGET', KEYS[2], 'token')
if token and tonumber(ARGV[1]) < tonumber(token) then return 'fenced' end

redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], 'token', ARGV[1], 'epoch', ARGV[2], 'seq', ARGV[3], 'floor', ARGV[3], 'server', ARGV[6])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PUBLISH', ARGV[5], ARGV[2] .. ' ' .. ARGV[3])
return 'ok'
