// The resolver's C interface turned into values.
#include "client/net/server_finder.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <numeric>

#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>

namespace dstm::client {
namespace {

constexpr std::size_t records_max = 32;
constexpr std::size_t srv_header_size = 6;
constexpr int seconds_per_try = 1;
constexpr int tries = 2;
// No question is begun after this; each takes seconds at most.
constexpr auto search_time_max = std::chrono::seconds(8);

// What the host's resolv.conf says, for one question after another.
class Resolver {
public:
    Resolver() {
        is_ready_ = res_ninit(&state_) == 0;
        state_.retrans = seconds_per_try;
        state_.retry = tries;
    }
    ~Resolver() { res_nclose(&state_); }
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;

    [[nodiscard]] std::vector<std::string> search_domains() const {
        std::vector<std::string> domains;
        for (const char* domain : state_.dnsrch) {
            if (!is_ready_ || domain == nullptr) break;
            if (*domain != '\0') domains.emplace_back(domain);
        }
        return domains;
    }

    [[nodiscard]] std::vector<SrvRecord> ask(const std::string& name) {
        std::array<std::uint8_t, 8192> answer{};
        const int size = res_nquery(&state_, name.c_str(), ns_c_in, ns_t_srv, answer.data(),
                                    static_cast<int>(answer.size()));
        if (size <= 0) return {};
        const auto whole = std::min(static_cast<std::size_t>(size), answer.size());
        return parse_srv_answer(std::span(answer).first(whole)).value_or(std::vector<SrvRecord>{});
    }

private:
    struct __res_state state_ {};
    bool is_ready_ = false;
};

Result<SrvRecord> read_record(const ns_msg& message, const ns_rr& record) {
    if (ns_rr_rdlen(record) < srv_header_size) return fail(ErrorCode::invalid, "SRV is too short");
    const auto* data = ns_rr_rdata(record);
    std::array<char, NS_MAXDNAME> name{};
    const int size = ns_name_uncompress(ns_msg_base(message), ns_msg_end(message),
                                        data + srv_header_size, name.data(), name.size());
    if (size < 0) return fail(ErrorCode::invalid, "SRV holds no name");
    std::string host(name.data());
    std::transform(host.begin(), host.end(), host.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (host.ends_with('.')) host.pop_back();
    return SrvRecord{static_cast<std::uint16_t>(ns_get16(data)),
                     static_cast<std::uint16_t>(ns_get16(data + 2)),
                     {std::move(host), static_cast<std::uint16_t>(ns_get16(data + 4))}};
}

}  // namespace

Result<std::vector<SrvRecord>> parse_srv_answer(std::span<const std::uint8_t> message) {
    ns_msg parsed;
    if (ns_initparse(message.data(), static_cast<int>(message.size()), &parsed) != 0) {
        return fail(ErrorCode::invalid, "the DNS answer is broken");
    }
    std::vector<SrvRecord> records;
    for (int i = 0; i < ns_msg_count(parsed, ns_s_an); ++i) {
        if (records.size() == records_max) break;
        ns_rr record;
        if (ns_parserr(&parsed, ns_s_an, i, &record) != 0) {
            return fail(ErrorCode::invalid, "the DNS answer is broken");
        }
        if (ns_rr_type(record) != ns_t_srv) continue;
        auto srv = read_record(parsed, record);
        if (!srv) return tl::unexpected(srv.error());
        const bool is_usable = !srv->target.host.empty() && srv->target.port != 0;
        if (is_usable) records.push_back(std::move(*srv));
    }
    return records;
}

std::vector<Target> in_order_of_choice(std::vector<SrvRecord> records, std::mt19937_64& random) {
    std::stable_sort(records.begin(), records.end(), [](const auto& a, const auto& b) {
        return a.priority < b.priority;
    });
    std::vector<Target> targets;
    while (!records.empty()) {
        const auto end = std::find_if(records.begin(), records.end(), [&](const auto& one) {
            return one.priority != records.front().priority;
        });
        // A weight of 0 has a small chance (RFC 2782).
        std::vector<double> weights;
        std::transform(records.begin(), end, std::back_inserter(weights),
                       [](const auto& one) { return one.weight + 0.01; });
        std::discrete_distribution<std::ptrdiff_t> choice(weights.begin(), weights.end());
        const auto chosen = records.begin() + choice(random);
        targets.push_back(std::move(chosen->target));
        records.erase(chosen);
    }
    return targets;
}

Result<std::vector<Target>> find_servers(const std::vector<std::string>& services) {
    Resolver resolver;
    std::mt19937_64 random(std::random_device{}());
    std::string asked;
    const auto end = std::chrono::steady_clock::now() + search_time_max;
    for (const auto& domain : resolver.search_domains()) {
        for (const auto& service : services) {
            if (std::chrono::steady_clock::now() >= end) break;
            const auto name = service + '.' + domain;
            asked += (asked.empty() ? "" : ", ") + name;
            auto records = resolver.ask(name);
            if (!records.empty()) return in_order_of_choice(std::move(records), random);
        }
    }
    if (asked.empty()) {
        return fail(ErrorCode::not_found, "no \"server\" is configured, and this host has no "
                                          "search domain to look for one in");
    }
    return fail(ErrorCode::not_found, "no \"server\" is configured, and the DNS names none (asked "
                                      "for " + asked + ")");
}

}  // namespace dstm::client
