-- Reads one page: a snapshot of the log after `start`.
-- ARGV: now, epoch known, start or +, events, bytes, all|some, checked from, checked to, number of
-- topics, topics, then of each wildcard: pattern, prefix.
-- Returns { status, due, epochs, tail, floor, start, scanned to, entries }; the status is 0 for a
-- page, 1 if there is no log yet, 2 if more floors must be looked at: then what was checked.
local MAX_TOPICS = 64
local MAX_NAMES = 1000
local MAX_FLOORS = 5000
local MAX_SCANNED = 2000
local MAX_SCANNED_BYTES = 1048576

replid()
local meta = load_meta()
if not meta then
  return { 1 }
end
local now = math.max(meta.now, tonumber(ARGV[1]))
local max_events, max_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local start = ARGV[3] == '+' and meta.tail or tonumber(ARGV[3])

local out, out_bytes = {}, 0

-- Takes an entry unless the page is full.
local function take(entry)
  local bytes = #entry[2][8]
  if #out > 0 and (#out >= max_events or out_bytes + bytes > max_bytes) then
    return false
  end
  out[#out + 1] = entry
  out_bytes = out_bytes + bytes
  return true
end

-- How many entries to ask for next, so that little is fetched in vain.
local function chunk(looked, looked_bytes, room)
  if looked == 0 then
    return 4
  end
  local fitting = math.floor(math.max(room, 0) / (looked_bytes / looked + 1)) + 1
  return math.min(fitting, 4 * looked, 128)
end

local function segments(text)
  local all = {}
  for segment in string.gmatch(text, '[^/]+') do
    all[#all + 1] = segment
  end
  return all
end

local function matches(pattern, name)
  local i, j, star, mark = 1, 1, nil, nil
  while j <= #name do
    if pattern[i] == '**' then
      star, mark, i = i, j, i + 1
    elseif pattern[i] and (pattern[i] == '*' or pattern[i] == name[j]) then
      i, j = i + 1, j + 1
    elseif star then
      mark = mark + 1
      i, j = star + 1, mark
    else
      return false
    end
  end
  while pattern[i] == '**' do
    i = i + 1
  end
  return i > #pattern
end

-- Scans the log piece by piece. Returns how far.
local function scan(wanted)
  local looked, looked_bytes, last, from = 0, 0, start, start
  while true do
    local room = wanted and MAX_SCANNED_BYTES - looked_bytes or max_bytes - out_bytes
    local count = math.min(chunk(looked, looked_bytes, room), wanted and 128 or max_events - #out + 1)
    local entries = call('XRANGE', LOG, '(' .. str(from) .. '-0', '+', 'COUNT', str(math.max(count, 1)))
    for _, entry in ipairs(entries) do
      from = entry_seq(entry)
      looked, looked_bytes = looked + 1, looked_bytes + #entry[2][8]
      if (not wanted or wanted(entry[2][2])) and not take(entry) then
        return last
      end
      last = from
      if wanted and (looked >= MAX_SCANNED or looked_bytes >= MAX_SCANNED_BYTES) then
        return last
      end
    end
    if #entries == 0 then
      return meta.tail
    end
  end
end

-- The seqs of some topics above `start` in order, at most one more than a page has.
local function merge(names)
  local size = math.max(8, math.min(max_events + 1, math.ceil(2 * max_events / math.max(#names, 1))))
  local heads = {}
  for _, name in ipairs(names) do
    heads[#heads + 1] = { name = name, list = {}, at = 1, last = start, more = true }
  end
  local function peek(head)
    if head.at > #head.list and head.more then
      head.list = call('ZRANGE', seqs_of(head.name), '(' .. str(head.last), '+inf', 'BYSCORE', 'LIMIT', 0, size)
      head.at, head.more = 1, #head.list == size
      if #head.list > 0 then
        head.last = tonumber(head.list[#head.list])
      end
    end
    return tonumber(head.list[head.at] or nil)
  end
  local merged = {}
  while #merged <= max_events do
    local least, first
    for _, head in ipairs(heads) do
      local seq = head.next or peek(head)
      head.next = seq
      if seq and (not least or seq < least) then
        least, first = seq, head
      end
    end
    if not least then
      break
    end
    merged[#merged + 1] = least
    first.at, first.next = first.at + 1, nil
  end
  return merged
end

-- Fetches the payloads of these seqs. Returns how far.
local function fetch(wanted)
  local at = 1
  while at <= #wanted do
    local count = math.min(chunk(#out, out_bytes, max_bytes - out_bytes), #wanted - at + 1)
    local first, last = wanted[at], wanted[at + count - 1]
    -- Most of a run is wanted: one look-up finds all of it.
    if last - first >= 2 * count then
      count, last = 1, first
    end
    local entries = call('XRANGE', LOG, str(first) .. '-0', str(last) .. '-0')
    local found = 0
    for _, entry in ipairs(entries) do
      if entry_seq(entry) == wanted[at + found] then
        if not take(entry) then
          return wanted[at + found - 1]
        end
        found = found + 1
      end
    end
    if found < count then
      fail('CORRUPT', 'the payload of event ' .. str(wanted[at + found]) .. ' is gone')
    end
    at = at + count
    if #out >= max_events then
      return #wanted >= at and wanted[at - 1] or meta.tail
    end
  end
  return meta.tail
end

local function page(floor, scanned)
  return {
    0, is_due(now) and 1 or 0, ARGV[2] == meta.epoch and '' or meta.epochs,
    str(meta.tail), str(floor), str(start), str(scanned), out,
  }
end

if ARGV[6] == 'all' then
  return page(meta.floor, scan(nil))
end

local names, selected, floor = {}, {}, 0
local exact = tonumber(ARGV[9])
for i = 10, 9 + exact do
  local name = ARGV[i]
  local value = call('HGET', TOPICS, name)
  selected[name] = true
  if value then
    names[#names + 1] = name
    floor = math.max(floor, parse_topic(value).floor)
  else
    floor = math.max(floor, meta.forgotten)
  end
end
if #ARGV == 9 + exact then
  return page(floor, fetch(merge(names)))
end

floor = math.max(floor, meta.forgotten)
local patterns, ranges, candidates = {}, {}, 0
for i = 10 + exact, #ARGV, 2 do
  patterns[#patterns + 1] = segments(ARGV[i])
  local range = { '[' .. ARGV[i + 1], '(' .. ARGV[i + 1] .. '\255' }
  ranges[#ranges + 1] = range
  candidates = candidates + call('ZLEXCOUNT', NAMES, range[1], range[2])
end
local judged = {}
local function wanted(name)
  local known = judged[name]
  if known == nil then
    local parts = segments(name)
    known = selected[name] or false
    for _, pattern in ipairs(patterns) do
      known = known or matches(pattern, parts)
    end
    judged[name] = known
  end
  return known
end

-- A few topics are read each by its seqs, and many by scanning the log.
if candidates <= MAX_NAMES then
  for _, range in ipairs(ranges) do
    for _, name in ipairs(call('ZRANGE', NAMES, range[1], range[2], 'BYLEX')) do
      if not selected[name] and wanted(name) then
        selected[name] = true
        names[#names + 1] = name
      end
    end
  end
  if #names <= MAX_TOPICS then
    for _, name in ipairs(names) do
      floor = math.max(floor, parse_topic(call('HGET', TOPICS, name)).floor)
    end
    return page(floor, fetch(merge(names)))
  end
end

-- The largest floor of a topic that matches is the first one from the top. Floors in (from, to] were
-- looked at by the call before; what had one of them then has it still, or a larger one.
local from, to = tonumber(ARGV[7]), tonumber(ARGV[8])
local top, bottom
local rank, left = 0, MAX_FLOORS
while left > 0 do
  local found = call('ZRANGE', FLOORS, rank, rank + 999, 'REV', 'WITHSCORES')
  rank = rank + 1000
  for i = 1, #found, 2 do
    local name, score = found[i], tonumber(found[i + 1])
    top = top or score
    if score <= floor then
      return page(floor, scan(wanted))
    elseif from < score and score <= to then
      rank, bottom = call('ZCOUNT', FLOORS, '(' .. str(from), '+inf'), from
      break
    elseif wanted(name) then
      return page(score, scan(wanted))
    end
    bottom, left = score - 1, left - 1
  end
  if #found == 0 then
    return page(floor, scan(wanted))
  end
end
return { 2, str(bottom), str(top) }
