-- Append events to a run's live log if they follow on, and announce them to readers in the same step.
--
-- KEYS[1]  stream of the run: entry id <epoch>-<seq>, fields p (payload) and a (agent spool position after it)
-- KEYS[2]  top: hash of token, epoch, seq (last appended), floor (nothing is held up to it), server
-- ARGV     token, epoch, first_seq, ttl_ms, channel, then payload and spool position of each event in order
--
-- Returns  "fenced"   a higher token has written: nothing is done
--          "missing"  nothing is held for the run
--          "behind"   another epoch is held, or the events do not follow on
--          "ok"       all of them are held now; those that were there already are skipped
-- Without events only the fence is raised ("ok"), whatever the epoch.
--
-- Announcement: one message per call, lines separated by \n. The first line is "<epoch> <seq>" of the first new event,
-- then one payload per line (compact JSON holds no raw newline). A message without payloads says that the log was begun
-- anew above that seq (see open.lua).

local token, epoch, first, channel = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[5]
local top = redis.call('HMGET', KEYS[2], 'token', 'epoch', 'seq')

if not top[1] then return 'missing' end
if token < tonumber(top[1]) then return 'fenced' end
if token > tonumber(top[1]) then redis.call('HSET', KEYS[2], 'token', ARGV[1]) end
if #ARGV < 6 then return 'ok' end

local held = tonumber(top[3])
if epoch ~= top[2] or first > held + 1 then return 'behind' end

local fresh = {string.format('%s %.0f', epoch, held + 1)}
local seq = first
for i = 6, #ARGV, 2 do
  if seq > held then
    redis.call('XADD', KEYS[1], string.format('%s-%.0f', epoch, seq), 'p', ARGV[i], 'a', ARGV[i + 1])
    fresh[#fresh + 1] = ARGV[i]
  end
  seq = seq + 1
end

if #fresh > 1 then
  redis.call('HSET', KEYS[2], 'seq', string.format('%.0f', seq - 1))
  redis.call('PUBLISH', channel, table.concat(fresh, '\n'))
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 'ok'
