// The audit log's lines by nlohmann-json.
#include "dstm-server/admin/audit_record.hpp"

#include <nlohmann/json.hpp>

#include "dstm-server/admin/rfc3339.hpp"

namespace dstm::server {
namespace {

using Json = nlohmann::ordered_json;

const char* name_of(AuditRecord::Event event) {
    switch (event) {
        case AuditRecord::Event::started: return "started";
        case AuditRecord::Event::changed: return "changed";
        case AuditRecord::Event::ended: return "ended";
    }
    return "ended";
}

std::optional<AuditRecord::Event> event_of(std::string_view name) {
    if (name == "started") return AuditRecord::Event::started;
    if (name == "changed") return AuditRecord::Event::changed;
    if (name == "ended") return AuditRecord::Event::ended;
    return std::nullopt;
}

std::string text_of(const Json& json, const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

std::string encode_audit(const AuditRecord& record) {
    Json json = {{"time", to_rfc3339(record.time)},
                 {"event", name_of(record.event)},
                 {"user", record.user},
                 {"host", record.host},
                 {"type", std::string(to_string(record.type))},
                 {"address", to_string(record.inner)}};
    if (record.prefix) json["prefix"] = record.prefix->to_string();
    json["outer"] = to_string(record.outer_client.address);
    if (record.outer_client.port != 0) json["outer-port"] = record.outer_client.port;
    json["endpoint"] = record.endpoint;
    json["expires"] = to_rfc3339(record.expires_at);
    if (!record.reason.empty()) json["reason"] = record.reason;
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<AuditRecord> decode_audit(std::string_view line) {
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object()) return fail(ErrorCode::invalid, "not a JSON object");
    const auto event = event_of(text_of(json, "event"));
    const auto time = parse_rfc3339(text_of(json, "time"));
    const auto inner = parse_ip_address(text_of(json, "address"));
    const auto outer = parse_ip_address(text_of(json, "outer"));
    const auto type = parse_tunnel_type(text_of(json, "type"));
    const auto expires = parse_rfc3339(text_of(json, "expires"));
    if (!event || !time || !inner || !outer || !type || !expires) {
        return fail(ErrorCode::invalid, "event, time, address, outer, type or expires is bad");
    }
    AuditRecord record;
    record.event = *event;
    record.time = *time;
    record.user = text_of(json, "user");
    record.host = text_of(json, "host");
    record.type = *type;
    record.inner = *inner;
    if (json.contains("prefix")) {
        record.prefix = Ipv6Prefix::parse(text_of(json, "prefix"));
        if (!record.prefix) return fail(ErrorCode::invalid, "prefix is bad");
    }
    record.outer_client.address = *outer;
    if (const auto port = json.find("outer-port");
        port != json.end() && port->is_number_unsigned() && port->get<std::uint64_t>() < 65536) {
        record.outer_client.port = port->get<std::uint16_t>();
    }
    record.endpoint = text_of(json, "endpoint");
    record.expires_at = *expires;
    record.reason = text_of(json, "reason");
    return record;
}

}  // namespace dstm::server
