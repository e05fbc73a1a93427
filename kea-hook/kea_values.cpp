// See the header.
#include "kea-hook/kea_values.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <boost/make_shared.hpp>

#include <dhcpsrv/cfg_globals.h>

namespace dstm::kea {

using isc::data::ConstElementPtr;
using isc::data::Element;
using isc::data::ElementPtr;
using isc::dhcp::CfgGlobals;
using isc::dhcp::HWAddr;
using isc::dhcp::HWAddrPtr;
using isc::dhcp::Lease;
using isc::dhcp::Lease4;
using isc::dhcp::Lease6;

namespace {

// The library's own table, as the configuration writes the names.
constexpr std::array<std::pair<const char*, int>, CfgGlobals::SIZE> globals{{
    {"valid-lifetime", CfgGlobals::VALID_LIFETIME},
    {"min-valid-lifetime", CfgGlobals::MIN_VALID_LIFETIME},
    {"max-valid-lifetime", CfgGlobals::MAX_VALID_LIFETIME},
    {"renew-timer", CfgGlobals::RENEW_TIMER},
    {"rebind-timer", CfgGlobals::REBIND_TIMER},
    {"decline-probation-period", CfgGlobals::DECLINE_PROBATION_PERIOD},
    {"dhcp4o6-port", CfgGlobals::DHCP4O6_PORT},
    {"comment", CfgGlobals::COMMENT},
    {"server-tag", CfgGlobals::SERVER_TAG},
    {"reservation-mode", CfgGlobals::RESERVATION_MODE},
    {"reservations-global", CfgGlobals::RESERVATIONS_GLOBAL},
    {"reservations-in-subnet", CfgGlobals::RESERVATIONS_IN_SUBNET},
    {"reservations-out-of-pool", CfgGlobals::RESERVATIONS_OUT_OF_POOL},
    {"calculate-tee-times", CfgGlobals::CALCULATE_TEE_TIMES},
    {"t1-percent", CfgGlobals::T1_PERCENT},
    {"t2-percent", CfgGlobals::T2_PERCENT},
    {"hostname-char-set", CfgGlobals::HOSTNAME_CHAR_SET},
    {"hostname-char-replacement", CfgGlobals::HOSTNAME_CHAR_REPLACEMENT},
    {"ddns-send-updates", CfgGlobals::DDNS_SEND_UPDATES},
    {"ddns-override-no-update", CfgGlobals::DDNS_OVERRIDE_NO_UPDATE},
    {"ddns-override-client-update", CfgGlobals::DDNS_OVERRIDE_CLIENT_UPDATE},
    {"ddns-replace-client-name", CfgGlobals::DDNS_REPLACE_CLIENT_NAME},
    {"ddns-generated-prefix", CfgGlobals::DDNS_GENERATED_PREFIX},
    {"ddns-qualifying-suffix", CfgGlobals::DDNS_QUALIFYING_SUFFIX},
    {"store-extended-info", CfgGlobals::STORE_EXTENDED_INFO},
    {"statistic-default-sample-count", CfgGlobals::STATISTIC_DEFAULT_SAMPLE_COUNT},
    {"statistic-default-sample-age", CfgGlobals::STATISTIC_DEFAULT_SAMPLE_AGE},
    {"cache-threshold", CfgGlobals::CACHE_THRESHOLD},
    {"cache-max-age", CfgGlobals::CACHE_MAX_AGE},
    {"early-global-reservations-lookup", CfgGlobals::EARLY_GLOBAL_RESERVATIONS_LOOKUP},
    {"ip-reservations-unique", CfgGlobals::IP_RESERVATIONS_UNIQUE},
    {"reservations-lookup-first", CfgGlobals::RESERVATIONS_LOOKUP_FIRST},
    {"ddns-update-on-renew", CfgGlobals::DDNS_UPDATE_ON_RENEW},
    {"ddns-use-conflict-resolution", CfgGlobals::DDNS_USE_CONFLICT_RESOLUTION},
    {"parked-packet-limit", CfgGlobals::PARKED_PACKET_LIMIT},
    {"echo-client-id", CfgGlobals::ECHO_CLIENT_ID},
    {"match-client-id", CfgGlobals::MATCH_CLIENT_ID},
    {"authoritative", CfgGlobals::AUTHORITATIVE},
    {"next-server", CfgGlobals::NEXT_SERVER},
    {"server-hostname", CfgGlobals::SERVER_HOSTNAME},
    {"boot-file-name", CfgGlobals::BOOT_FILE_NAME},
    {"data-directory", CfgGlobals::DATA_DIRECTORY},
    {"preferred-lifetime", CfgGlobals::PREFERRED_LIFETIME},
    {"min-preferred-lifetime", CfgGlobals::MIN_PREFERRED_LIFETIME},
    {"max-preferred-lifetime", CfgGlobals::MAX_PREFERRED_LIFETIME},
}};

std::optional<std::uint8_t> hex_digit(char c) {
    if (c >= '0' && c <= '9') return static_cast<std::uint8_t>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<std::uint8_t>(c - 'a' + 10);
    if (c >= 'A' && c <= 'F') return static_cast<std::uint8_t>(c - 'A' + 10);
    return std::nullopt;
}

std::string hex_with_colons(const Bytes& bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const std::uint8_t byte : bytes) {
        if (!text.empty()) text.push_back(':');
        text.push_back(digits[byte >> 4]);
        text.push_back(digits[byte & 15]);
    }
    return text;
}

ConstElementPtr mark_in(const ConstElementPtr& context) {
    if (!context || context->getType() != Element::map) return nullptr;
    auto mark = context->get("dstm");
    return mark && mark->getType() == Element::map ? mark : nullptr;
}

}  // namespace

std::optional<Bytes> parse_hex_bytes(std::string_view text) {
    Bytes bytes;
    for (std::size_t at = 0; at < text.size(); at += 3) {
        if (at + 2 > text.size()) return std::nullopt;
        const auto high = hex_digit(text[at]);
        const auto low = hex_digit(text[at + 1]);
        if (!high || !low) return std::nullopt;
        bytes.push_back(static_cast<std::uint8_t>(*high << 4 | *low));
        const bool last = at + 2 == text.size();
        if (!last && (text[at + 2] != ':' || at + 3 == text.size())) return std::nullopt;
    }
    return bytes;
}

HWAddrPtr hardware_address_of(const Bytes& client_id) {
    std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, 64 bits
    for (const std::uint8_t byte : client_id) hash = (hash ^ byte) * 0x100000001b3;
    hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccd;  // so that 46 of its bits are as good as any
    hash ^= hash >> 33;
    Bytes address(6);
    for (std::size_t i = 0; i < address.size(); ++i) {
        address[i] = static_cast<std::uint8_t>(hash >> (8 * i));
    }
    address[0] = static_cast<std::uint8_t>((address[0] & 0xFC) | 0x02);
    return boost::make_shared<HWAddr>(address, isc::dhcp::HTYPE_ETHER);
}

Number to_number(const IOAddress& address) {
    Number number = 0;
    for (const std::uint8_t byte : address.toBytes()) number = number << 8 | byte;
    return number;
}

IOAddress to_address(Number number, int family) {
    Bytes bytes(family == AF_INET ? 4 : 16);
    for (std::size_t i = bytes.size(); i-- > 0; number >>= 8) {
        bytes[i] = static_cast<std::uint8_t>(number);
    }
    return IOAddress::fromBytes(static_cast<short>(family), bytes.data());
}

bool is_live(const Lease& row) { return row.state_ == Lease::STATE_DEFAULT && !row.expired(); }

bool is_ours(const Lease& row) { return mark_in(row.getContext()) != nullptr; }

Bytes client_id_of(const Lease& row) {
    if (const auto* row4 = dynamic_cast<const Lease4*>(&row)) return row4->getClientIdVector();
    return dynamic_cast<const Lease6&>(row).getDuidVector();
}

RowPtr copy_of(const Lease& row) {
    if (const auto* row4 = dynamic_cast<const Lease4*>(&row)) {
        return boost::make_shared<Lease4>(*row4);
    }
    return boost::make_shared<Lease6>(dynamic_cast<const Lease6&>(row));
}

std::int64_t generation_of(const ConstElementPtr& user_context) {
    const auto mark = mark_in(user_context);
    const auto generation = mark ? mark->get("generation") : nullptr;
    return generation && generation->getType() == Element::integer ? generation->intValue() : 0;
}

ElementPtr merged_context(const ConstElementPtr& old, const ConstElementPtr& changes) {
    ElementPtr merged = Element::createMap();
    for (const auto& context : {old, changes}) {
        if (!context || context->getType() != Element::map) continue;
        for (const auto& [name, value] : context->mapValue()) merged->set(name, value);
    }
    if (!mark_in(merged)) merged->set("dstm", Element::createMap());
    return merged;
}

ElementPtr without_our_mark(const ConstElementPtr& context) {
    ElementPtr rest = Element::createMap();
    if (context && context->getType() == Element::map) {
        for (const auto& [name, value] : context->mapValue()) {
            if (name != "dstm") rest->set(name, value);
        }
    }
    return rest->size() == 0 ? nullptr : rest;
}

ElementPtr lease_to_element(const ClientLease& lease) {
    const Lease& row = *lease.address;
    ElementPtr map = Element::createMap();
    map->set("ip-address", Element::create(row.addr_.toText()));
    std::int64_t end = row.getExpirationTime();
    if (const auto prefix = boost::dynamic_pointer_cast<Lease6>(lease.prefix)) {
        map->set("prefix", Element::create(prefix->addr_.toText() + "/" +
                                           std::to_string(prefix->prefixlen_)));
        end = std::min(end, prefix->getExpirationTime());
    }
    map->set("subnet-id", Element::create(static_cast<long long>(row.subnet_id_)));
    map->set("client-id", Element::create(hex_with_colons(client_id_of(row))));
    if (row.getType() == Lease::TYPE_V4) {
        map->set("hw-address", Element::create(row.hwaddr_ ? row.hwaddr_->toText(false) : ""));
    }
    map->set("hostname", Element::create(row.hostname_));
    map->set("valid-lifetime", Element::create(static_cast<long long>(row.valid_lft_)));
    map->set("cltt", Element::create(static_cast<long long>(row.cltt_)));
    map->set("expires-at", Element::create(static_cast<long long>(end)));
    const auto context = row.getContext();
    map->set("user-context", context ? context : ConstElementPtr(Element::createMap()));
    return map;
}

Result<void> check_library_tables() {
    if (CfgGlobals::nameToIndex.size() != globals.size()) {
        return fail(ErrorCode::invalid,
                    "this hook was built for another version of Kea: the number "
                    "of global parameters differs from the library's");
    }
    for (const auto& [name, index] : globals) {
        const auto found = CfgGlobals::nameToIndex.find(name);
        if (found != CfgGlobals::nameToIndex.end() && found->second == index) continue;
        return fail(ErrorCode::invalid,
                    std::string("this hook was built for another version of Kea: the number of "
                                "global '") +
                        name + "' differs from the library's");
    }
    return {};
}

}  // namespace dstm::kea
