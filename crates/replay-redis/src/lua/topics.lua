-- Lists topics.
-- ARGV: now, lowest name with its bracket or -, bound of names or +, most names, then names to look
-- up. With names to look up, only those are listed.
-- Returns { due, name, last, bytes, ended, events, ... }.
replid()
local meta = load_meta()
if not meta then
  return { 0 }
end
local names = {}
if #ARGV > 4 then
  for i = 5, #ARGV do
    names[#names + 1] = ARGV[i]
  end
else
  names = call('ZRANGE', NAMES, ARGV[2], ARGV[3], 'BYLEX', 'LIMIT', 0, ARGV[4])
end
local out = { is_due(math.max(meta.now, tonumber(ARGV[1]))) and 1 or 0 }
for _, name in ipairs(names) do
  local value = call('HGET', TOPICS, name)
  if value then
    local t = parse_topic(value)
    for _, it in ipairs({ name, str(t.last), str(t.bytes), t.ended and 1 or 0, call('ZCARD', seqs_of(name)) }) do
      out[#out + 1] = it
    end
  end
end
return out
