// Encoding and decoding of docs/wire/kea-stream.md by nlohmann-json. Every field that comes in is
// checked for type and range before it becomes a value; no exception leaves this file.
#include "dstm-server/lease/codec.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace dstm::server::lease {
namespace {

using Json = nlohmann::json;

// Strings that came from a TSP peer may hold bytes that are not UTF-8; they are replaced.
std::string dump(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

tl::unexpected<Error> bad(std::string what) {
    return fail(ErrorCode::invalid, "message from the Kea hook: " + std::move(what));
}

// --- getters that check --------------------------------------------------------------------------

const Json* find(const Json& object, const char* key) {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(key);
    return found == object.end() ? nullptr : &*found;
}

std::optional<std::string> string_of(const Json& object, const char* key) {
    const Json* value = find(object, key);
    if (value == nullptr || !value->is_string()) return std::nullopt;
    return value->get<std::string>();
}

std::optional<std::uint64_t> unsigned_of(const Json& object, const char* key,
                                         std::uint64_t max = INT64_MAX) {
    const Json* value = find(object, key);
    if (value == nullptr || !value->is_number_integer()) return std::nullopt;
    if (!value->is_number_unsigned() && value->get<std::int64_t>() < 0) return std::nullopt;
    const auto number = value->get<std::uint64_t>();
    if (number > max) return std::nullopt;
    return number;
}

// --- values --------------------------------------------------------------------------------------

using server::family_of;
Family family_of(const IpAddress& address) {
    return std::holds_alternative<Ipv4Address>(address) ? Family::v4 : Family::v6;
}

std::optional<IpAddress> address_of(Family family, std::string_view text) {
    auto address = parse_ip_address(text);
    if (address && family_of(*address) != family) return std::nullopt;
    return address;
}

Json to_json(const BindingContext& context) {
    Json json = {{"user", context.user},
                 {"host", context.host},
                 {"tunnel-type", std::string(to_string(context.type))},
                 {"outer-address", to_string(context.outer_client.address)},
                 {"outer-port", context.outer_client.port},
                 {"endpoint", context.endpoint},
                 {"generation", context.generation}};
    if (!context.name_servers.empty()) json["name-servers"] = context.name_servers;
    return {{"dstm", std::move(json)}};
}

// Absent: none. nullopt: not a list of strings.
std::optional<std::vector<std::string>> strings_of(const Json& json, const char* key) {
    std::vector<std::string> strings;
    const Json* list = find(json, key);
    if (list == nullptr) return strings;
    if (!list->is_array()) return std::nullopt;
    for (const Json& entry : *list) {
        if (!entry.is_string()) return std::nullopt;
        strings.push_back(entry.get<std::string>());
    }
    return strings;
}

std::optional<BindingContext> context_of(Family family, const Json& json) {
    const auto user = string_of(json, "user");
    const auto type_name = string_of(json, "tunnel-type");
    const auto outer_text = string_of(json, "outer-address");
    const auto port = unsigned_of(json, "outer-port", UINT16_MAX);
    const auto endpoint = string_of(json, "endpoint");
    const auto generation = unsigned_of(json, "generation");
    auto name_servers = strings_of(json, "name-servers");
    if (!user || !type_name || !outer_text || !endpoint || !generation) return std::nullopt;
    const auto type = parse_tunnel_type(*type_name);
    const auto outer = parse_ip_address(*outer_text);
    if (!type || family_of(*type) != family || !outer || !name_servers) return std::nullopt;
    BindingContext context;
    context.user = *user;
    context.host = string_of(json, "host").value_or("");
    context.type = *type;
    context.outer_client = {*outer, static_cast<std::uint16_t>(port.value_or(0))};
    context.endpoint = *endpoint;
    context.generation = *generation;
    context.name_servers = *std::move(name_servers);
    return context;
}

// nullopt inside: a sound lease that is not ours.
Result<std::optional<Lease>> lease_of(Family family, const Json& json) {
    const auto address_text = string_of(json, "ip-address");
    if (!address_text) return bad("a lease without ip-address");
    const auto address = address_of(family, *address_text);
    if (!address) return bad("a lease with a bad ip-address");

    const Json* user_context = find(json, "user-context");
    const Json* marked = user_context == nullptr ? nullptr : find(*user_context, "dstm");
    if (marked == nullptr) return std::optional<Lease>();
    auto context = context_of(family, *marked);
    if (!context) return bad("lease " + *address_text + " with a bad user-context.dstm");

    const auto client_id = parse_hex(string_of(json, "client-id").value_or(""));
    const auto lifetime = unsigned_of(json, "valid-lifetime", UINT32_MAX);
    const auto expires_at = unsigned_of(json, "expires-at");
    if (!client_id || !lifetime || !expires_at) {
        return bad("lease " + *address_text + " lacks client-id, valid-lifetime or expires-at");
    }
    Lease lease;
    if (json.contains("prefix")) {
        lease.prefix = Ipv6Prefix::parse(string_of(json, "prefix").value_or(""));
        if (!lease.prefix) return bad("lease " + *address_text + " with a bad prefix");
    }
    lease.hostname = string_of(json, "hostname").value_or("");
    if (lease.hostname.ends_with('.')) lease.hostname.pop_back();  // as Kea writes full names
    lease.address = *address;
    lease.client_id = *client_id;
    lease.valid_lifetime_s = static_cast<std::uint32_t>(*lifetime);
    lease.expires_at = from_unix(static_cast<std::int64_t>(*expires_at));
    lease.context = std::move(*context);
    return std::optional<Lease>(std::move(lease));
}

// `what`: "allocate", "renew", "release" or "list".
std::string encode(std::uint64_t id, Family family, const char* what, Json arguments) {
    const char* const prefix = family == Family::v4 ? "dstm4-lease-" : "dstm6-lease-";
    return dump({{"id", id},
                 {"command", std::string(prefix) + what},
                 {"arguments", std::move(arguments)}});
}

// The caller parses text that this file wrote itself into Answer::arguments.
Result<Json> parse_object(std::string_view text) {
    Json json = Json::parse(text, nullptr, false);
    if (!json.is_object()) return bad("not a JSON object");
    return json;
}

ErrorCode code_of_reason(std::string_view reason) {
    if (reason == "pool-exhausted") return ErrorCode::exhausted;
    if (reason == "bad-request") return ErrorCode::invalid;
    if (reason == "not-serving") return ErrorCode::unavailable;
    if (reason == "not-found" || reason == "prefix-unavailable") return ErrorCode::not_found;
    if (reason == "not-owner" || reason == "stale") return ErrorCode::conflict;
    if (reason == "refused") return ErrorCode::refused;
    return ErrorCode::internal;
}

Result<Message> answer_of(const Json& json, std::uint64_t id) {
    constexpr std::uint64_t success = 0;
    constexpr std::uint64_t nothing_found = 3;
    const auto result = unsigned_of(json, "result", INT32_MAX);
    if (!result) return bad("an answer without result");
    const Json* arguments = find(json, "arguments");
    Answer answer;
    answer.id = id;
    answer.arguments = arguments != nullptr && arguments->is_object() ? dump(*arguments) : "{}";
    if (*result != success) {
        const std::string fallback = *result == nothing_found ? "not-found" : "";
        const std::string reason =
            arguments == nullptr ? fallback : string_of(*arguments, "reason").value_or(fallback);
        const std::string text = string_of(json, "text").value_or("no text");
        answer.error = Error{code_of_reason(reason), "Kea: " + text};
    }
    return Message(std::move(answer));
}

Result<Message> event_of(Family family, const Json& json) {
    const auto name = string_of(json, "event");
    const auto sequence = unsigned_of(json, "sequence");
    if (!name || !sequence) return bad("an event without name or sequence");
    static const Json nothing = Json::object();
    const Json* given = find(json, "arguments");
    const Json& arguments = given == nullptr ? nothing : *given;

    if (*name == "hello") {
        const auto protocol = unsigned_of(arguments, "protocol", INT32_MAX);
        const auto served = unsigned_of(arguments, "family", INT32_MAX);
        if (!protocol || !served) return bad("hello without protocol or family");
        return Message(Hello{static_cast<std::int64_t>(*protocol),
                             static_cast<std::int64_t>(*served), *sequence});
    }
    if (*name == "resync") return Message(Resync{*sequence});

    LeaseEnded ended;
    ended.sequence = *sequence;
    if (*name == "lease-expired") ended.why = LeaseEnd::expired;
    else if (*name == "lease-released") ended.why = LeaseEnd::released;
    else if (*name == "lease-declined") ended.why = LeaseEnd::declined;
    else if (*name == "lease-deleted") ended.why = LeaseEnd::deleted;
    else return Message(UnknownEvent{*sequence});
    auto lease = lease_of(family, arguments);
    if (lease) ended.lease = std::move(*lease);
    return Message(std::move(ended));
}

}  // namespace

std::string encode_allocate(std::uint64_t id, Family family, const LeaseRequest& request) {
    Json arguments = {{"client-id", to_hex(request.client_id)},
                      {"user-context", to_json(request.context)}};
    if (request.subnet_id != 0) arguments["subnet-id"] = request.subnet_id;
    if (request.requested) arguments["requested-address"] = to_string(*request.requested);
    if (request.prefix_length) arguments["prefix-length"] = *request.prefix_length;
    if (request.requested_prefix) arguments["prefix"] = request.requested_prefix->to_string();
    // The last dot says that the name is whole.
    if (!request.hostname.empty()) arguments["hostname"] = request.hostname + ".";
    if (request.valid_lifetime_s != 0) arguments["valid-lifetime"] = request.valid_lifetime_s;
    return encode(id, family, "allocate", std::move(arguments));
}

std::string encode_renew(std::uint64_t id, const IpAddress& address,
                         const LeaseRequest& request) {
    Json arguments = {{"ip-address", to_string(address)},
                      {"client-id", to_hex(request.client_id)},
                      {"user-context", to_json(request.context)}};
    if (request.valid_lifetime_s != 0) arguments["valid-lifetime"] = request.valid_lifetime_s;
    return encode(id, family_of(address), "renew", std::move(arguments));
}

std::string encode_release(std::uint64_t id, const IpAddress& address, const ClientId& client_id,
                           Generation up_to) {
    constexpr Generation generation_max = INT64_MAX;  // Kea's JSON integers are signed
    return encode(id, family_of(address), "release",
                  {{"ip-address", to_string(address)},
                   {"client-id", to_hex(client_id)},
                   {"up-to-generation", std::min(up_to, generation_max)}});
}

std::string encode_list(std::uint64_t id, Family family, const std::optional<IpAddress>& from) {
    Json arguments = {{"limit", list_page_max}};
    if (from) arguments["from"] = to_string(*from);
    return encode(id, family, "list", std::move(arguments));
}

Result<Message> decode(Family family, std::string_view line) {
    auto json = parse_object(line);
    if (!json) return tl::unexpected(json.error());
    if (json->contains("event")) return event_of(family, *json);
    const auto id = unsigned_of(*json, "id");
    if (!id) return bad("neither an event nor an answer with an id");
    return answer_of(*json, *id);
}

Result<Allocated> decode_allocated(Family family, std::string_view arguments) {
    auto json = parse_object(arguments);
    if (!json) return tl::unexpected(json.error());
    auto lease = lease_of(family, *json);
    if (!lease) return tl::unexpected(lease.error());
    if (!*lease) return bad("an allocated lease without our user-context");
    const Json* reused = find(*json, "reused");
    return Allocated{std::move(**lease),
                     reused != nullptr && reused->is_boolean() && reused->get<bool>()};
}

Result<Lease> decode_lease(Family family, std::string_view arguments) {
    return decode_allocated(family, arguments).map([](Allocated allocated) {
        return allocated.lease;
    });
}

Result<LeasePage> decode_page(Family family, std::string_view arguments) {
    auto json = parse_object(arguments);
    if (!json) return tl::unexpected(json.error());
    const Json* leases = find(*json, "leases");
    if (leases == nullptr || !leases->is_array()) return bad("a list without leases");
    if (leases->size() > list_page_max) return bad("a list page with too many leases");
    LeasePage page;
    for (const Json& entry : *leases) {
        auto lease = lease_of(family, entry);
        if (!lease) ++page.unreadable;
        else if (*lease) page.leases.push_back(std::move(**lease));
    }
    if (json->contains("next")) {
        page.next = address_of(family, string_of(*json, "next").value_or(""));
        if (!page.next) return bad("a list with a bad next");
    }
    return page;
}

std::string to_hex(const ClientId& id) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const std::uint8_t byte : id) {
        if (!text.empty()) text += ':';
        text += digits[byte >> 4];
        text += digits[byte & 0xf];
    }
    return text;
}

std::optional<ClientId> parse_hex(std::string_view text) {
    constexpr std::size_t client_id_size_max = 255;  // RFC 2132 s2: one length byte
    const auto digit = [](char c) {
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    };
    // "xx" and then any number of ":xx".
    if (text.size() % 3 != 2 || text.size() / 3 >= client_id_size_max) return std::nullopt;
    ClientId id;
    for (std::size_t at = 0; at < text.size(); at += 3) {
        const int high = digit(text[at]);
        const int low = digit(text[at + 1]);
        if (high < 0 || low < 0 || (at != 0 && text[at - 1] != ':')) return std::nullopt;
        id.push_back(static_cast<std::uint8_t>(high << 4 | low));
    }
    return id;
}

}  // namespace dstm::server::lease
