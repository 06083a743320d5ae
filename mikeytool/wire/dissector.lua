-- Reads MIKEY messages in Wireshark. `mikeytool wireshark` writes this file: the tables above
-- this line come from the same grammar that mikeytool reads messages with.
--
-- Install it in Wireshark's folder of personal Lua plugins (Help, About, Folders), or give it
-- to tshark with `-X lua_script:FILE`.

local NAME = "mikeytool"
local MIKEY_PORT = 2269
local MEDIA_TYPE = "application/mikey"

local mikey = Proto(NAME, "MIKEY (RFC 3830, RFC 6043)")
local over_tcp = Proto(NAME .. "_tcp", "MIKEY over TCP")
local in_text = Proto(NAME .. "_text", "MIKEY in RTSP and SDP text")

local unread = ProtoExpert.new(NAME .. ".unread", "This part cannot be read",
    expert.group.UNDECODED, expert.severity.WARN)
mikey.experts = { unread }

-- Fields ----------------------------------------------------------------------------------------

local F = {}

local INTEGERS = { ProtoField.uint8, ProtoField.uint16, ProtoField.uint24, ProtoField.uint32 }

local function abbreviation(record, name)
    return NAME .. "." .. record:lower() .. "." .. name
end

local function declare_integer(abbr, field, size)
    local form = (field.show == "hex" or field.show == "flags") and base.HEX or base.DEC
    F[abbr] = INTEGERS[size](abbr, field.title, form, NAMES[field.names], field.mask)
    for _, flag in ipairs(field.flags or {}) do
        local one = abbr .. "." .. flag.letter
        F[one] = ProtoField.bool(one, flag.letter, size * 8, nil, flag.mask)
    end
end

local function declare_octets(abbr, field)
    if field.show == "text" then
        F[abbr] = ProtoField.string(abbr, field.title)
        return
    end
    F[abbr] = ProtoField.bytes(abbr, field.title)
    if field.show == "time" or field.show == "unix time" then
        F[abbr .. "_utc"] = ProtoField.absolute_time(abbr .. "_utc", "UTC", base.UTC)
    end
end

local function declare(record, field)
    local abbr = field.name and abbreviation(record, field.name)
    if field.kind == "integer" then
        declare_integer(abbr, field, field.size)
    elseif field.kind == "bits" then
        for _, bit in ipairs(field.bits) do
            declare_integer(abbreviation(record, bit.name), bit, field.size)
        end
    elseif field.kind == "octets" then
        declare_octets(abbr, field)
    elseif field.kind == "list" and not field.of then
        F[abbr] = ProtoField.uint8(abbr, field.title)
    end
end

for name, record in pairs(RECORDS) do
    local abbr = NAME .. "." .. name:lower()
    F[abbr] = ProtoField.none(abbr, record.label)
    for _, field in ipairs(record.fields) do
        declare(name, field)
    end
end
F.first = ProtoField.uint8(NAME .. ".first_payload", "First payload", base.DEC, NAMES.NextPayload)
F.trailing = ProtoField.bytes(NAME .. ".trailing", "Octets behind the last payload")

local declared = {}
for _, field in pairs(F) do
    declared[#declared + 1] = field
end
mikey.fields = declared

-- Values ----------------------------------------------------------------------------------------

-- An error. What was read whole ends at `good`; `short` means that octets are missing.
local function fail(pos, text, short)
    error({ good = pos, text = text, short = short }, 0)
end

-- The value of a length, a count or a condition of the grammar.
local function evaluate(expression, values, pos, stop)
    if type(expression) == "number" then
        return expression
    end
    local kind, field, other, known = table.unpack(expression)
    if kind == "rest" then
        return stop - pos
    elseif kind == "field" then
        return values[field]
    elseif kind == "equal" then
        return values[field] == other and 1 or 0
    elseif kind == "implied" then
        return other[values[field]]
            or fail(pos, field .. " " .. values[field] .. " is unknown, so the length is too")
    end
    local some = known[values[field]]
    return some and some[values[other]] or fail(pos, "the length of this field is unknown")
end

local function need(count, pos, stop, what)
    if count > stop - pos then
        fail(pos, what .. " takes " .. count .. " octets, " .. stop - pos .. " are left", true)
    end
end

-- The time in a timestamp, unless it is a counter.
local function add_time(item, abbr, values, range)
    local kind = TIMES[values.ts_type]
    if kind == "ntp" then
        item:add_packet_field(F[abbr .. "_utc"], range, ENC_TIME_NTP + ENC_BIG_ENDIAN)
    elseif kind == "seconds" then
        item:add_packet_field(F[abbr .. "_utc"], range, ENC_TIME_SECS_NTP + ENC_BIG_ENDIAN)
    end
end

-- Unix time of 5 octets; 0 says that there is no time.
local function add_unix_time(item, abbr, range)
    local seconds = range(0, 1):uint() * 2 ^ 32 + range(1, 4):uint()
    if seconds > 0 then
        item:add(F[abbr .. "_utc"], range, NSTime.new(seconds))
    end
end

-- Reading ---------------------------------------------------------------------------------------

-- Every function reads octets `pos` to `stop` and adds what it finds to `tree`, unless `tree`
-- is nil. `what` names the record in errors.
local read_record, read_whole, chain, add_content

-- What the line of a record says of its fields: the names of values, and text.
local function summarize(state, field)
    local value = state.values[field.name]
    if field.names and field.name ~= "next_payload" then
        table.insert(state.summary, NAMES[field.names][value] or tostring(value))
    elseif field.show == "text" then
        -- Wireshark escapes the text of fields, but not that of lines.
        table.insert(state.summary, (value:string():gsub("[^\32-\126]", "?")))
    end
end

local function read_integer(state, record, field, pos)
    need(field.size, pos, state.stop, field.title)
    local range = state.tvb(pos, field.size)
    state.values[field.name] = range:uint()
    if state.tree then
        state.tree:add(F[abbreviation(record, field.name)], range)
        summarize(state, field)
    end
    return pos + field.size
end

local function add_bit_field(tree, abbr, bit, range, all)
    local item = tree:add(F[abbr], range)
    local set = {}
    for _, flag in ipairs(bit.flags or {}) do
        item:add(F[abbr .. "." .. flag.letter], range)
        if math.floor(all / flag.mask) % 2 == 1 then
            set[#set + 1] = flag.letter
        end
    end
    if bit.flags then
        item:append_text(" " .. table.concat(set))
    end
end

local function read_bits(state, record, field, pos)
    need(field.size, pos, state.stop, field.bits[1].title)
    local range = state.tvb(pos, field.size)
    local all = range:uint()
    for _, bit in ipairs(field.bits) do
        -- Lua 5.2 has no operators for bits.
        state.values[bit.name] = math.floor(all / bit.scale) % bit.range
        if state.tree then
            add_bit_field(state.tree, abbreviation(record, bit.name), bit, range, all)
            summarize(state, bit)
        end
    end
    return pos + field.size
end

local function read_octets(state, record, field, pos)
    local size = evaluate(field.length, state.values, pos, state.stop)
    need(size, pos, state.stop, field.title)
    state.values[field.name] = state.tvb(pos, size)
    if state.tree and size > 0 then
        local abbr = abbreviation(record, field.name)
        local item = state.tree:add(F[abbr], state.tvb(pos, size))
        summarize(state, field)
        if field.show == "unix time" then
            add_unix_time(item, abbr, state.tvb(pos, size))
        elseif field.show == "time" then
            add_time(item, abbr, state.values, state.tvb(pos, size))
        elseif field.holds or field.name == "session_data" then
            add_content(state, field, item, pos, pos + size)
        end
    end
    return pos + size
end

local function read_list(state, record, field, pos)
    local count = field.count and evaluate(field.count, state.values, pos, state.stop)
    local stop = state.stop
    if field.length then
        local size = evaluate(field.length, state.values, pos, stop)
        need(size, pos, stop, field.title)
        stop = pos + size
    end
    local done = 0
    while (count and done < count) or (not count and pos < stop) do
        if field.of then
            pos = read_whole(field.of, state.tvb, pos, stop, state.tree, state.depth, state.values)
        else
            need(1, pos, stop, field.title)
            if state.tree then
                state.tree:add(F[abbreviation(record, field.name)], state.tvb(pos, 1))
            end
            pos = pos + 1
        end
        done = done + 1
    end
    return pos
end

local READERS = {
    integer = read_integer, bits = read_bits, octets = read_octets, list = read_list,
}

local function read_field(state, record, field, pos)
    if field.kind == "switch" then
        local case = field.cases[state.values[field.key]]
        if not case then
            fail(pos, field.title .. " of an unknown type cannot be read")
        end
        return read_field(state, record, case, pos)
    end
    if field.when and evaluate(field.when, state.values, pos, state.stop) == 0 then
        return pos
    end
    return READERS[field.kind](state, record, field, pos)
end

-- A policy parameter has the names of the protocol of its policy.
local function name_parameter(item, values, policy)
    local known = policy and POLICIES[policy.protocol]
    local title = known and NAMES[known.names][values.type]
    if title then
        item:append_text(": " .. title)
        local names = known.values[values.type]
        if names and values.length > 0 and values.length <= 2 then
            local number = values.value:uint()
            item:append_text(" " .. (NAMES[names][number] or number))
        end
    end
end

function read_record(name, tvb, pos, stop, tree, depth, above)
    local record = RECORDS[name]
    local item = tree and tree:add(F[NAME .. "." .. name:lower()], tvb(pos))
    local state = { tvb = tvb, stop = stop, tree = item, depth = depth, values = {}, summary = {} }
    local start = pos
    for _, field in ipairs(record.fields) do
        local ok, after = pcall(read_field, state, name, field, pos)
        if not ok then
            if item then
                item:set_len(stop - start)
            end
            error(after, 0)
        end
        pos = after
    end
    if item then
        item:set_len(pos - start)
        if #state.summary > 0 then
            item:append_text(": " .. table.concat(state.summary, ", "))
        end
        if name == "PolicyParam" then
            name_parameter(item, state.values, above)
        end
    end
    return pos, state.values, item
end

-- Tried without a tree first: a record that breaks off is not shown as one.
function read_whole(name, tvb, pos, stop, tree, depth, above)
    local ok, after, values = pcall(read_record, name, tvb, pos, stop, nil, depth, above)
    if not ok then
        after.good = pos
        error(after, 0)
    end
    if tree then
        read_record(name, tvb, pos, stop, tree, depth, above)
    end
    return after, values
end

function chain(number, tvb, pos, stop, tree, depth)
    local count = 0
    while number and number ~= 0 do
        count = count + 1
        if count > MAX_PAYLOADS then
            fail(pos, "more than " .. MAX_PAYLOADS .. " payloads")
        end
        local name = PAYLOADS[number]
        if not name then
            fail(pos, "payload number " .. number .. " is not one that can be read")
        end
        local after, values = read_whole(name, tvb, pos, stop, tree, depth)
        pos, number = after, values.next_payload
    end
    return pos
end

local function whole(pos, stop)
    if pos < stop then
        fail(pos, stop - pos .. " octets stand behind the last payload in it")
    end
    return pos
end

-- Content of octet strings ----------------------------------------------------------------------

local HOLDERS = {}

HOLDERS["payloads"] = function(tvb, pos, stop, tree, depth)
    if tree then
        tree:add(F.first, tvb(pos, 1))
    end
    return whole(chain(tvb(pos, 1):uint(), tvb, pos + 1, stop, tree, depth), stop)
end

HOLDERS["ticket data"] = function(tvb, pos, stop, tree, depth)
    local after, values = read_record("THDR", tvb, pos, stop, tree, depth)
    return whole(chain(values.next_payload, tvb, after, stop, tree, depth), stop)
end

local function keys(tvb, pos, stop, tree, depth)
    return whole(chain(KEY_DATA, tvb, pos, stop, tree, depth), stop)
end

-- In the public-key methods an ID precedes the keys; the message does not say whether it does.
local function identity_and_keys(tvb, pos, stop, tree, depth)
    local after, values = read_record("ID", tvb, pos, stop, tree, depth)
    if values.next_payload ~= KEY_DATA then
        fail(pos, "this is no key data")
    end
    return keys(tvb, after, stop, tree, depth)
end

HOLDERS["key data"] = function(tvb, pos, stop, tree, depth, values)
    if values.encr_alg ~= NULL_ENCRYPTION then
        return
    end
    local with_identity = not pcall(keys, tvb, pos, stop, nil, depth)
        and pcall(identity_and_keys, tvb, pos, stop, nil, depth)
    return (with_identity and identity_and_keys or keys)(tvb, pos, stop, tree, depth)
end

-- The first record that fits to the last octet is meant.
HOLDERS["extension"] = function(tvb, pos, stop, tree, depth, values)
    local problem
    for _, name in ipairs(EXTENSIONS[values.type] or {}) do
        local ok, after = pcall(read_record, name, tvb, pos, stop, nil, depth)
        if ok and after == stop then
            read_record(name, tvb, pos, stop, tree, depth)
            return
        end
        problem = ok and { text = "octets stand behind the content" } or after
    end
    if problem then
        error(problem, 0)
    end
end

HOLDERS["session data"] = function(tvb, pos, stop, tree, depth, values)
    if values.protocol ~= SRTP or stop - pos < 4 then
        return
    end
    if not tree then
        return
    end
    local full = values.s == 1 and stop - pos >= 10
    for _, field in ipairs(RECORDS.SrtpSessionData.fields) do
        tree:add(F[abbreviation("SrtpSessionData", field.name)], tvb(pos, field.size))
        pos = pos + field.size
        if not full then
            return
        end
    end
end

function add_content(state, field, item, pos, stop)
    local holds = field.name == "session_data" and "session data" or field.holds
    local read = HOLDERS[holds]
    if not read or state.depth == 0 then
        return
    end
    local function try(tree)
        return pcall(read, state.tvb, pos, stop, tree, state.depth - 1, state.values)
    end
    -- Keys are shown up to a fault; of other content that has one, only the octets are.
    local ok, problem = true
    if holds ~= "key data" then
        ok, problem = try(nil)
    end
    if ok then
        ok, problem = try(item)
    end
    if not ok then
        item:add_proto_expert_info(unread, problem.text or tostring(problem))
    end
end

-- Messages --------------------------------------------------------------------------------------

local function read_message(tvb, stop, tree)
    local pos, values = read_record("HDR", tvb, 0, stop, tree, MAX_DEPTH)
    return chain(values.next_payload, tvb, pos, stop, tree, MAX_DEPTH)
end

local function message_name(tvb)
    local number = tvb:len() > 1 and tvb(1, 1):uint()
    return number and (NAMES.DataType[number] or "data type " .. number) or "cut message"
end

local function dissect(tvb, tree)
    local item = tree:add(mikey, tvb())
    item:append_text(", " .. message_name(tvb))
    local ok, found = pcall(read_message, tvb, tvb:len(), item)
    local stop = found
    if not ok then
        item:add_proto_expert_info(unread, found.text or tostring(found))
        stop = found.good or 0
    end
    if stop < tvb:len() then
        item:add(F.trailing, tvb(stop))
    end
end

-- The octets in base64 of either alphabet, padded or not; nil for other text.
local function from_base64(text)
    local base64 = text:gsub("%s", ""):gsub("-", "+"):gsub("_", "/"):gsub("=+$", "")
    if base64 == "" or base64:find("[^%w+/]") or #base64 % 4 == 1 then
        return nil
    end
    return ByteArray.new(base64 .. ("="):rep(-#base64 % 4), true):base64_decode()
end

function mikey.dissector(tvb, pinfo, tree)
    local length = tvb:len()
    if pinfo.match == MIKEY_PORT then
        pinfo.cols.protocol = "MIKEY"
        pinfo.cols.info = message_name(tvb)
    elseif pinfo.match == MEDIA_TYPE then
        local octets = from_base64(tvb:range():string())
        tvb = octets and octets:tvb("MIKEY") or tvb
    end
    dissect(tvb, tree)
    return length
end

-- After a fault nobody knows where the next message begins; what is there is shown as one.
function over_tcp.dissector(tvb, pinfo, tree)
    local pos = 0
    pinfo.cols.protocol = "MIKEY"
    while pos < tvb:len() do
        local left = tvb(pos):tvb()
        local ok, found = pcall(read_message, left, left:len(), nil)
        if not ok and found.short and left:len() < MAX_MESSAGE then
            pinfo.desegment_offset = pos
            pinfo.desegment_len = DESEGMENT_ONE_MORE_SEGMENT
            return
        end
        local size = ok and left(0, 1):uint() == VERSION and found or left:len()
        local one = left(0, size):tvb()
        pinfo.cols.info = message_name(one)
        dissect(one, tree)
        pos = pos + size
    end
end

-- Text that Wireshark hands to no table -----------------------------------------------------------

-- Calls `each` with the data of every specification of MIKEY in a KeyMgmt header (RFC 4567 3.2).
local function each_of_header(value, each)
    local quoted = {}
    value = value:gsub('"([^"]*)"', function(inside)
        quoted[#quoted + 1] = inside
        return '"' .. #quoted .. '"'
    end)
    for spec in value:gmatch("[^,]+") do
        local parameters = {}
        for name, shown in spec:gmatch("(%w+)%s*=%s*([^;]*)") do
            local at = shown:match('^"(%d+)"')
            parameters[name:lower()] = at and quoted[tonumber(at)] or shown:gsub("%s+$", "")
        end
        if parameters.prot == "mikey" and parameters.data then
            each(parameters.data)
        end
    end
end

local function each_of_rtsp(text, each)
    for value in text:gmatch("\n[Kk][Ee][Yy][Mm][Gg][Mm][Tt][ \t]*:([^\r\n]*)") do
        each_of_header(value, each)
    end
    for value in text:gmatch("\n[Mm][Ii][Kk][Ee][Yy][ \t]*:([^\r\n]*)") do
        each(value)
    end
end

local function each_of_sdp(text, each)
    for value in text:gmatch("\na=key%-mgmt:[ \t]*mikey[ \t]+([^\r\n]+)") do
        each(value)
    end
    for value in text:gmatch("\na=acap:%d+[ \t]+key%-mgmt:[ \t]*mikey[ \t]+([^\r\n]+)") do
        each(value)
    end
end

local TEXTS = {
    { field = Field.new("rtsp"), each = each_of_rtsp },
    { field = Field.new("sdp"), each = each_of_sdp },
}
local shown = Field.new(NAME)

-- The texts of some fields. The first of several RTSP messages in a segment has the others as well.
local function texts_of(fields)
    local texts = {}
    for at, field in ipairs(fields) do
        texts[at] = field.range:string()
        local before = texts[at - 1]
        if before and #before > #texts[at] and before:sub(-#texts[at]) == texts[at] then
            texts[at - 1] = before:sub(1, -#texts[at] - 1)
        end
    end
    return texts
end

-- Shows the messages in text that are not in the tree already. Wireshark hands over some of those
-- in SDP, and some of them twice, but once without a tree.
function in_text.dissector(_, _, tree)
    local known = {}
    for _, field in ipairs({ shown() }) do
        local octets = field.range:bytes():tohex()
        known[octets] = (known[octets] or 0) + 1
    end
    local function each(base64)
        local octets = from_base64(base64)
        local times = octets and known[octets:tohex()] or 0
        if times > 0 then
            known[octets:tohex()] = times - 1
        elseif octets then
            dissect(octets:tvb("MIKEY"), tree)
        else
            tree:add(in_text):add_proto_expert_info(unread, "the data of key-mgmt is not base64")
        end
    end
    for _, kind in ipairs(TEXTS) do
        for _, text in ipairs(texts_of({ kind.field() })) do
            kind.each("\n" .. text:gsub("\r?\n[ \t]+", " "), each)
        end
    end
end

DissectorTable.get("udp.port"):add(MIKEY_PORT, mikey)
DissectorTable.get("tcp.port"):add(MIKEY_PORT, over_tcp)
DissectorTable.get("media_type"):add(MEDIA_TYPE, mikey)
DissectorTable.get("key_mgmt"):add("mikey", mikey)
register_postdissector(in_text, true)
