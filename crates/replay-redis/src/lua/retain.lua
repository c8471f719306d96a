-- Changing the log. `topics` holds what was read of :topics; `flush` writes what changed.
local meta
local topics = {}

local function topic(name)
  local t = topics[name]
  if t == nil then
    local value = call('HGET', TOPICS, name)
    if not value then
      return nil
    end
    t = parse_topic(value)
    t.count = call('ZCARD', seqs_of(name))
    t.was_floor, t.was_idle = t.floor, t.count == 0
    topics[name] = t
  end
  return t
end

local function create(name)
  local t = {
    last = nil, floor = meta.forgotten, bytes = 0, ended = false, age = '-', count = 0,
    was_floor = 0, was_idle = false, new = true,
  }
  topics[name] = t
  return t
end

-- When an event is too old, or nil for never.
local function expires(t, at)
  return t.age ~= '-' and tonumber(at) + tonumber(t.age) + 1 or nil
end

-- The oldest event of a topic: its seq, and its fields unless somebody has removed the payload.
local function oldest(name)
  local seq = call('ZRANGE', seqs_of(name), 0, 0)[1]
  if not seq then
    return nil
  end
  local entry = call('XRANGE', LOG, seq .. '-0', seq .. '-0')[1]
  return seq, entry and entry[2]
end

local function trim_oldest(name, t, seq, fields)
  call('XDEL', LOG, seq .. '-0')
  call('ZREM', seqs_of(name), seq)
  local bytes = fields and cost(fields) or 0
  t.count, t.bytes, meta.bytes = t.count - 1, t.bytes - bytes, meta.bytes - bytes
  t.floor = tonumber(seq)
  meta.floor = math.max(meta.floor, t.floor)
  t.dirty = true
end

-- Trims what is too old. The times in :expiry are early, never late.
local function trim_old(budget)
  while budget > 0 do
    local name = call('ZRANGE', EXPIRY, '-inf', str(meta.now), 'BYSCORE', 'LIMIT', 0, 1)[1]
    if not name then
      break
    end
    local t = topic(name)
    local seq, fields
    if t then
      seq, fields = oldest(name)
    end
    local at = seq and (fields and expires(t, fields[4]) or (not fields and 0))
    if not at then
      call('ZREM', EXPIRY, name)
    elseif at <= meta.now then
      trim_oldest(name, t, seq, fields)
    else
      call('ZADD', EXPIRY, str(at), name)
    end
    budget = budget - 1
  end
  return budget
end

-- Trims the oldest events while all of them are too big.
local function trim_log(log_bytes, budget)
  while meta.bytes > log_bytes and budget > 0 do
    local entry = call('XRANGE', LOG, '-', '+', 'COUNT', 1)[1]
    if not entry then
      meta.bytes = 0
      break
    end
    local name = entry[2][2]
    local t = topic(name)
    if t then
      trim_oldest(name, t, str(entry_seq(entry)), entry[2])
    else
      call('XDEL', LOG, entry[1])
      meta.bytes = meta.bytes - cost(entry[2])
    end
    budget = budget - 1
  end
  return budget
end

local function flush()
  for name, t in pairs(topics) do
    if t.dirty then
      local value = str(t.last) .. ' ' .. str(t.floor) .. ' ' .. str(t.bytes)
      call('HSET', TOPICS, name, value .. (t.ended and ' 1 ' or ' 0 ') .. t.age)
      if t.new then
        call('ZADD', NAMES, 0, name)
      end
      if t.floor ~= t.was_floor then
        call('ZADD', FLOORS, str(t.floor), name)
      end
      if t.count == 0 then
        call('ZADD', IDLE, str(t.floor), name)
        call('ZREM', EXPIRY, name)
      elseif t.was_idle then
        call('ZREM', IDLE, name)
      end
    end
  end
  topics = {}
end

-- Forgets the longest idle topics beyond a number. Call it after `flush`.
local function forget(idle_topics, budget)
  local over = math.min(call('ZCARD', IDLE) - idle_topics, budget)
  if over > 0 then
    local popped = call('ZPOPMIN', IDLE, str(over))
    for i = 1, #popped, 2 do
      local name = popped[i]
      call('HDEL', TOPICS, name)
      call('ZREM', NAMES, name)
      call('ZREM', FLOORS, name)
      meta.forgotten = math.max(meta.forgotten, tonumber(popped[i + 1]))
    end
  end
end

local function forget_keys(count, oldest_ms, budget)
  local held = call('LLEN', WINDOW)
  while held > 0 and budget > 0 do
    local item = call('LINDEX', WINDOW, 0)
    local seq, name = string.match(item, '^(%d+) (.*)$')
    local known = call('HGET', KNOWN, name)
    local at, same
    if known then
      at, same = string.match(known, '^(%d+) (%d+) ')
      same = same == seq
    end
    if same and held <= count and tonumber(at) >= oldest_ms then
      break
    end
    call('LPOP', WINDOW)
    if same then
      call('HDEL', KNOWN, name)
    end
    held, budget = held - 1, budget - 1
  end
end

local function save_meta()
  call('HSET', META, 'epochs', meta.epochs, 'epoch', meta.epoch, 'replid', meta.replid,
    'tail', str(meta.tail), 'now', str(meta.now), 'bytes', str(meta.bytes),
    'floor', str(meta.floor), 'forgotten', str(meta.forgotten))
end

-- The log as it is, or a new one that begins with the epoch `seed`.
local function open_log(seed, id)
  local found = load_meta()
  if not found then
    found = {
      epochs = seed .. ':1', epoch = seed, replid = id, tail = 0, now = 0, bytes = 0, floor = 0, forgotten = 0,
    }
    call('HSET', META, 'v', '1')
  end
  return found
end
