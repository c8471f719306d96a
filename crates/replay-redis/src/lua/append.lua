-- Appends some batches, each whole or not at all, and applies retention.
-- ARGV: now, seed, epoch known, last epoch seen, last seq seen, log bytes, idle topics, keys, key age,
-- batches; of each batch its length, and of each event: topic, type, +conflate, +key, fingerprint,
-- "events bytes age", data. Without a conflate or idempotency key: -.
local EVENT = 7
local MAX_SEQ = 9007199254740991
local MAX_EPOCHS = 256
local KEY_REUSED, ENDED, EXHAUSTED = 1, 2, 3

local id = replid()
meta = open_log(ARGV[2], id)
meta.now = math.max(meta.now, tonumber(ARGV[1]))
local log_bytes, idle_topics = tonumber(ARGV[6]), tonumber(ARGV[7])
local max_keys, oldest_key = tonumber(ARGV[8]), meta.now - tonumber(ARGV[9])
-- The log is not the one that was seen: it is shorter, or on a server that was promoted or restarted.
local went_back = ARGV[4] == meta.epoch and tonumber(ARGV[5]) > meta.tail
local epoch_due = id ~= meta.replid or went_back
local appended = 0

local function key_name(at)
  local key = ARGV[at + 3]
  return key ~= '-' and (ARGV[at] .. '\n' .. key) or nil
end

-- The fingerprint and seq under a key that is still in the window.
local function known(name)
  local value = call('HGET', KNOWN, name)
  if not value then
    return nil
  end
  local at, seq = string.match(value, '^(%d+) (%d+) ')
  if tonumber(at) < oldest_key then
    return nil
  end
  return { string.sub(value, -16), tonumber(seq) }
end

-- What each event of a batch will be answered, before anything is written.
local function plan(first, count)
  local next_seq, in_batch, ends, answers = meta.tail, {}, {}, {}
  for i = 0, count - 1 do
    local at = first + i * EVENT
    local name, key = ARGV[at], key_name(at)
    local found = key and (in_batch[key] or known(key))
    if found then
      if found[1] ~= ARGV[at + 4] then
        return nil, { KEY_REUSED, i }
      end
      answers[i] = { found[2], true }
    else
      local ended = ends[name]
      if ended == nil then
        local t = topic(name)
        ended = t and t.ended and t.last or false
        ends[name] = ended
      end
      local is_end = ARGV[at + 1] == '$end'
      if ended and not is_end then
        return nil, { ENDED, i }
      elseif ended then
        answers[i] = { ended, true }
      else
        next_seq = next_seq + 1
        if next_seq > MAX_SEQ then
          return nil, { EXHAUSTED, i }
        end
        if is_end then
          ends[name] = next_seq
        end
        if key then
          in_batch[key] = { ARGV[at + 4], next_seq }
        end
        answers[i] = { next_seq, false }
      end
    end
  end
  return answers
end

local function start_epoch()
  meta.epoch, meta.replid = ARGV[2], id
  meta.epochs = meta.epochs .. ' ' .. ARGV[2] .. ':' .. str(meta.tail + 1)
  local _, spaces = string.gsub(meta.epochs, ' ', '')
  if spaces >= MAX_EPOCHS then
    meta.epochs = string.match(meta.epochs, '^%S+ (.*)$')
  end
end

local function push(at, seq)
  local name, data = ARGV[at], ARGV[at + 6]
  local t = topic(name) or create(name)
  local age = string.match(ARGV[at + 5], '(%S+)$')
  if t.count == 0 or t.age ~= age then
    -- With another age, the next to look finds out when its oldest event is too old.
    local fresh = t.count == 0
    t.age = age
    local due = expires(t, meta.now)
    if due then
      call('ZADD', EXPIRY, fresh and str(due) or '0', name)
    else
      call('ZREM', EXPIRY, name)
    end
  end
  local fields = { 't', name, 'm', str(meta.now), 'p', t.last and str(t.last) or (t.floor == 0 and '0' or '-'), 'd', data }
  -- Both have a place, so that each is found: an absent type is empty, an absent key has no `+`.
  if ARGV[at + 1] ~= '' or ARGV[at + 2] ~= '-' then
    fields[9], fields[10] = 'e', ARGV[at + 1]
  end
  if ARGV[at + 2] ~= '-' then
    fields[11], fields[12] = 'c', string.sub(ARGV[at + 2], 2)
  end
  call('XADD', LOG, str(seq) .. '-0', unpack(fields))
  call('ZADD', seqs_of(name), str(seq), str(seq))
  local bytes = cost(fields)
  t.last, t.count, t.bytes = seq, t.count + 1, t.bytes + bytes
  meta.bytes = meta.bytes + bytes
  t.ended = ARGV[at + 1] == '$end'
  t.bounds = ARGV[at + 5]
  t.dirty = true
  local key = key_name(at)
  if key and max_keys > 0 then
    call('HSET', KNOWN, key, str(meta.now) .. ' ' .. str(seq) .. ' ' .. ARGV[at + 4])
    call('RPUSH', WINDOW, str(seq) .. ' ' .. key)
  end
end

-- What is too old goes first, so that nothing is appended to a topic that is due to be forgotten.
trim_old(256)
flush()
forget(idle_topics, 1000)

local results = {}
local at = 11
for batch = 1, tonumber(ARGV[10]) do
  local count = tonumber(ARGV[at])
  local first = at + 1
  at = first + count * EVENT
  local answers, refused = plan(first, count)
  if refused then
    results[batch] = refused
  else
    local answer = { 0 }
    for i = 0, count - 1 do
      local seq, duplicate = answers[i][1], answers[i][2]
      if not duplicate then
        if epoch_due then
          start_epoch()
          epoch_due = false
        end
        push(first + i * EVENT, seq)
        meta.tail = seq
        appended = appended + 1
      end
      answer[#answer + 1] = seq
      answer[#answer + 1] = duplicate and 1 or 0
    end
    results[batch] = answer
    forget_keys(max_keys, oldest_key, count + 64)
  end
end

-- What is due goes with a bounded number of trims, always more than were appended.
local budget = 2 * appended + 256
for name, t in pairs(topics) do
  if t.bounds then
    local events, bytes = string.match(t.bounds, '^(%S+) (%S+) ')
    events, bytes = tonumber(events), tonumber(bytes)
    while (t.count > events or t.bytes > bytes) and budget > 0 do
      local seq, fields = oldest(name)
      if not seq then
        break
      end
      trim_oldest(name, t, seq, fields)
      budget = budget - 1
    end
  end
end
trim_log(log_bytes, trim_old(budget))
flush()
forget(idle_topics, 1000)
save_meta()
if appended > 0 then
  call('PUBLISH', base .. ':hints', meta.epoch)
end
return { ARGV[3] == meta.epoch and '' or meta.epochs, str(meta.tail), results }
