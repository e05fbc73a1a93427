// See the header.
#include "kea-hook/arguments.hpp"

#include <dhcp/duid.h>

#include "common/base/ip_address.hpp"

namespace dstm::kea {

namespace {

using isc::data::ConstElementPtr;
using isc::data::Element;

constexpr std::size_t hostname_max = 253;       // RFC 1035 s2.3.4
constexpr std::size_t user_context_max = 4096;  // bytes as JSON; also a line of the lease file

bool is_hostname(const std::string& text) {
    constexpr std::string_view allowed =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    return text.size() <= hostname_max && text.find_first_not_of(allowed) == std::string::npos &&
           text.find("..") == std::string::npos && (text.empty() || text.front() != '.');
}

}  // namespace

Arguments::Arguments(const ConstElementPtr& arguments, int family)
    : arguments_(arguments), family_(family) {
    if (arguments_ && arguments_->getType() != Element::map) {
        mistake_ = Refusal{Reason::bad_request, "arguments must be a map"};
        arguments_.reset();
    }
}

Bytes Arguments::client_id() {
    const auto value = require("client-id");
    if (!value) return {};
    const auto bytes =
        value->getType() == Element::string ? parse_hex_bytes(value->stringValue()) : std::nullopt;
    if (!bytes) {
        wrong("client-id", "must be hexadecimal bytes with colons");
        return {};
    }
    // Both families; RFC 8415 s11.1 has at least three bytes, but Kea does not insist.
    constexpr std::size_t min = isc::dhcp::ClientId::MIN_CLIENT_ID_LEN;
    constexpr std::size_t max = isc::dhcp::ClientId::MAX_CLIENT_ID_LEN;
    if (bytes->size() < min || bytes->size() > max) {
        wrong("client-id",
              "must have " + std::to_string(min) + " to " + std::to_string(max) + " bytes");
        return {};
    }
    return *bytes;
}

std::optional<IOAddress> Arguments::address(const std::string& name) {
    const auto value = take(name);
    if (!value) return std::nullopt;
    const auto address =
        value->getType() == Element::string ? parse_ip_address(value->stringValue()) : std::nullopt;
    const bool is_ipv4 = address && std::holds_alternative<Ipv4Address>(*address);
    if (!address || is_ipv4 != (family_ == AF_INET)) {
        wrong(name, family_ == AF_INET ? "must be an IPv4 address" : "must be an IPv6 address");
        return std::nullopt;
    }
    return IOAddress(to_string(*address));
}

std::optional<IOAddress> Arguments::prefix(const std::string& name,
                                           std::optional<std::uint8_t> length) {
    const auto value = take(name);
    if (!value) return std::nullopt;
    const bool is_text = value->getType() == Element::string;
    const auto prefix = is_text ? Ipv6Prefix::parse(value->stringValue()) : std::nullopt;
    if (!prefix || !length || prefix->length != *length) {
        wrong(name, "must be an IPv6 prefix as long as 'prefix-length' says");
        return std::nullopt;
    }
    return IOAddress(prefix->address.to_string());
}

IOAddress Arguments::required_address(const std::string& name) {
    const auto given = require(name) ? address(name) : std::nullopt;
    return given.value_or(to_address(0, family_));
}

std::optional<std::int64_t> Arguments::number(const std::string& name, std::int64_t min,
                                              std::int64_t max) {
    const auto value = take(name);
    if (!value) return std::nullopt;
    if (value->getType() != Element::integer || value->intValue() < min ||
        value->intValue() > max) {
        wrong(name, "must be a number from " + std::to_string(min) + " to " + std::to_string(max));
        return std::nullopt;
    }
    return value->intValue();
}

std::optional<std::string> Arguments::hostname() {
    const auto value = take("hostname");
    if (!value) return std::nullopt;
    if (value->getType() != Element::string || !is_hostname(value->stringValue())) {
        wrong("hostname", "must be a host name");
        return std::nullopt;
    }
    return value->stringValue();
}

ConstElementPtr Arguments::user_context() {
    const auto value = take("user-context");
    if (!value) return nullptr;
    if (value->getType() != Element::map) {
        wrong("user-context", "must be a map");
        return nullptr;
    }
    const auto mark = value->get("dstm");
    if (mark && mark->getType() != Element::map) {
        wrong("user-context.dstm", "must be a map");
        return nullptr;
    }
    const auto generation = mark ? mark->get("generation") : nullptr;
    if (generation && (generation->getType() != Element::integer || generation->intValue() < 0)) {
        wrong("user-context.dstm.generation", "must be a number, not below 0");
        return nullptr;
    }
    if (value->str().size() > user_context_max) {
        wrong("user-context", "is longer than " + std::to_string(user_context_max) + " bytes");
        return nullptr;
    }
    return value;
}

ConstElementPtr Arguments::required_list(const std::string& name, std::size_t size_max) {
    const auto value = require(name);
    if (value && value->getType() != Element::list) {
        wrong(name, "must be a list");
    } else if (value && value->size() > size_max) {
        wrong(name, "has more than " + std::to_string(size_max) + " entries");
    }
    return value;
}

std::optional<Refusal> Arguments::mistake() {
    if (!mistake_ && arguments_) {
        for (const auto& [name, value] : arguments_->mapValue()) {
            if (!read_.contains(name)) wrong(name, "is unknown here");
        }
    }
    return mistake_;
}

ConstElementPtr Arguments::take(const std::string& name) {
    read_.insert(name);
    return arguments_ ? arguments_->get(name) : nullptr;
}

ConstElementPtr Arguments::require(const std::string& name) {
    auto value = take(name);
    if (!value) wrong(name, "is missing");
    return value;
}

void Arguments::wrong(const std::string& name, const std::string& what) {
    if (!mistake_) mistake_ = Refusal{Reason::bad_request, "argument '" + name + "' " + what};
}

}  // namespace dstm::kea
