-- What the scripts share. KEYS[1] is the base of all keys, a hash tag.
--
--   :meta    hash  v, epochs, epoch, replid, tail, now, bytes, floor, forgotten
--   :log     stream of the retained events, id SEQ-0, fields t m p d [e] [c]
--   :t:TOPIC zset  seqs of the retained events of one topic
--   :topics  hash  topic -> "last floor bytes ended age"
--   :names   zset  topics by the bytes of their names
--   :floors  zset  topics of which something was trimmed, by floor
--   :idle    zset  topics without a retained event, by floor
--   :expiry  zset  topics by a time before which none of their events is too old
--   :keys    hash  TOPIC LF KEY -> "at seq fingerprint"
--   :window  list  "seq TOPIC LF KEY", oldest first
--
-- A Lua number is exact up to 2^53, but `tostring` keeps 14 digits: numbers are written by `str`.
local base = KEYS[1]
local META, LOG, TOPICS, NAMES = base .. ':meta', base .. ':log', base .. ':topics', base .. ':names'
local FLOORS, IDLE, EXPIRY = base .. ':floors', base .. ':idle', base .. ':expiry'
local KNOWN, WINDOW = base .. ':keys', base .. ':window'
local OVERHEAD = 128
local call = redis.call

local function str(n)
  return string.format('%.0f', n)
end

local function seqs_of(name)
  return base .. ':t:' .. name
end

local function fail(code, detail)
  error({ err = code .. ' ' .. detail })
end

-- The state of the log, or nil before it has one.
local function load_meta()
  local v = call('HMGET', META, 'v', 'epochs', 'epoch', 'replid', 'tail', 'now', 'bytes', 'floor', 'forgotten')
  if not v[1] then
    if call('EXISTS', LOG, TOPICS) > 0 then
      fail('CORRUPT', 'the key ' .. META .. ' is gone, but others of the log are there')
    end
    return nil
  end
  if v[1] ~= '1' then
    fail('CORRUPT', 'the log has format ' .. v[1] .. ', this version reads 1')
  end
  return {
    epochs = v[2], epoch = v[3], replid = v[4], tail = tonumber(v[5]), now = tonumber(v[6]),
    bytes = tonumber(v[7]), floor = tonumber(v[8]), forgotten = tonumber(v[9]),
  }
end

-- The replication id of this server, which must be a primary.
local function replid()
  local info = call('INFO', 'replication')
  if string.match(info, 'role:(%a+)') ~= 'master' then
    fail('READONLY', 'this server is a replica')
  end
  return string.match(info, 'master_replid:(%x+)')
end

-- The fields of a stream entry have fixed places: 2 topic, 4 timestamp, 6 prev, 8 data, then
-- perhaps a type and a conflate key.
local function cost(fields)
  return OVERHEAD + #fields[2] + #fields[8] + #(fields[10] or '') + #(fields[12] or '')
end

local function entry_seq(entry)
  return tonumber(string.match(entry[1], '^%d+'))
end

local function parse_topic(value)
  local last, floor, bytes, ended, age = string.match(value, '^(%d+) (%d+) (%d+) (%d) (%S+)$')
  return {
    last = tonumber(last), floor = tonumber(floor), bytes = tonumber(bytes), ended = ended == '1', age = age,
  }
end

local function is_due(now)
  local first = call('ZRANGE', EXPIRY, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2]) <= now
end
