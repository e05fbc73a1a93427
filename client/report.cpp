// Words and JSON for what engine and ports know.
#include "client/report.hpp"

#include <algorithm>
#include <array>
#include <ctime>

#include <nlohmann/json.hpp>

#include "common/log/log.hpp"

namespace dstm::client {
namespace {

using std::chrono::seconds;

std::string duration_in_words(std::int64_t left_s) {
    if (left_s >= 120 && left_s % 60 == 0) return std::to_string(left_s / 60) + " min";
    return std::to_string(left_s) + " s";
}

std::string time_in_words(std::int64_t unix_s) {
    const auto time = static_cast<std::time_t>(unix_s);
    std::tm parts{};
    gmtime_r(&time, &parts);
    std::array<char, 32> text{};
    const auto size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return {text.data(), size};
}

std::string name_of(const std::string& user) {
    return user.empty() ? std::string("anonymous") : log::quoted(user);
}

// user, address, lifetime and endpoint: who has which address, from the client's side.
void log_binding(std::string_view id, const Engine& engine, const std::string& user) {
    const auto& binding = engine.binding();
    if (!binding) return;
    const auto& offer = binding->offer;
    log_info(id, "user={} type={} address={} prefix={} lifetime={} endpoint={} outer={} server={}",
             name_of(user), to_string(offer.type), to_string(offer.inner),
             offer.prefix ? offer.prefix->to_string() : "none", offer.lease.count(),
             to_string(offer.endpoint), to_string(binding->outer.address),
             log::quoted(binding->server.host));
}

}  // namespace

void log_announcement(const Announce& announcement, const Engine& engine,
                      const std::string& user) {
    using What = Announce::What;
    const auto& text = announcement.text;
    switch (announcement.what) {
        case What::up: log_binding("CLIENT_UP", engine, user); break;
        case What::renewed: log_binding("CLIENT_RENEWED", engine, user); break;
        case What::moved: log_binding("CLIENT_MOVED", engine, user); break;
        case What::retrying:
            log_warning("CLIENT_RETRY", "in={}ms reason={}", announcement.in.count(), text);
            break;
        case What::refused:
            log_error("CLIENT_REFUSED", "code={} {}", announcement.status, text);
            break;
        case What::failed: log_error("CLIENT_FAILED", "{}", text); break;
        case What::redirected: log_info("CLIENT_REDIRECTED", "to={}", text); break;
        case What::keepalive_lost: log_warning("CLIENT_KEEPALIVE_LOST", "{}", text); break;
        case What::down: log_info("CLIENT_DOWN", "{}", text); break;
        case What::lifetime_guessed:
            log_warning("CLIENT_LIFETIME_GUESSED", "lifetime={} taken as seconds", text);
            break;
        case What::dormant: log_info("CLIENT_DORMANT", "{}", text); break;
        case What::aside: log_info("CLIENT_ASIDE", "{}", text); break;
        case What::lease_not_returned:
            log_warning("CLIENT_LEASE_NOT_RETURNED", "{}", text);
            break;
    }
}

std::string describe(const Binding& binding) {
    const auto& offer = binding.offer;
    const bool is_ipv4 = std::holds_alternative<Ipv4Address>(offer.inner);
    return std::string(is_ipv4 ? "IPv4" : "IPv6") + " address " + to_string(offer.inner) +
           (offer.prefix ? " and prefix " + offer.prefix->to_string() : std::string()) + " for " +
           duration_in_words(offer.lease.count()) + " from " + binding.server.host +
           " (endpoint " + to_string(offer.endpoint) + ")";
}

nlohmann::json status_of(const Driver& driver) {
    const auto& engine = driver.engine();
    nlohmann::json status{{"state", to_string(engine.state())}};
    if (!engine.last_error().empty()) status["last-error"] = engine.last_error();
    const auto& binding = engine.binding();
    if (!binding) return status;
    const auto& offer = binding->offer;
    status["type"] = to_string(offer.type);
    status["address"] = to_string(offer.inner);
    if (offer.prefix) status["prefix"] = offer.prefix->to_string();
    if (!offer.name.empty()) status["name"] = offer.name;
    status["endpoint"] = to_string(offer.endpoint);
    status["outer"] = to_string(binding->outer.address);
    status["server"] = binding->server.host;
    status["since"] = to_unix(binding->since);
    status["lifetime"] = offer.lease.count();
    const auto left =
        std::chrono::duration_cast<seconds>(binding->ends_at - driver.ports().clock.now());
    status["lifetime-left"] = std::max<std::int64_t>(0, left.count());
    status["summary"] = describe(*binding);
    if (const auto round_trip = driver.ports().echo.round_trip()) {
        status["round-trip-us"] = round_trip->count();
    }
    if (const auto counters = driver.ports().host.counters()) {
        status["packets-sent"] = counters->packets_up;
        status["bytes-sent"] = counters->bytes_up;
        status["packets-received"] = counters->packets_down;
        status["bytes-received"] = counters->bytes_down;
    }
    return status;
}

std::string describe_status(const nlohmann::json& status) {
    std::string text = "state:      " + status.value("state", "unknown") + '\n';
    const auto line = [&text](const char* label, const std::string& value) {
        text += label + value + '\n';
    };
    if (status.contains("address")) {
        line("type:       ", status.value("type", ""));
        line("address:    ", status.value("address", ""));
        if (status.contains("prefix")) line("prefix:     ", status.value("prefix", ""));
        if (status.contains("name")) line("name:       ", status.value("name", ""));
        line("endpoint:   ", status.value("endpoint", ""));
        line("from:       ", status.value("outer", ""));
        line("server:     ", status.value("server", ""));
        line("since:      ", time_in_words(status.value("since", std::int64_t{0})));
        line("time left:  ", duration_in_words(status.value("lifetime-left", std::int64_t{0})));
    }
    if (status.contains("round-trip-us")) {
        const auto microseconds = status.value("round-trip-us", std::int64_t{0});
        line("round trip: ", fmt::format("{:.1f} ms", static_cast<double>(microseconds) / 1000));
    }
    if (status.contains("bytes-sent")) {
        line("sent:       ", fmt::format("{} packets, {} bytes",
                                         status.value("packets-sent", std::uint64_t{0}),
                                         status.value("bytes-sent", std::uint64_t{0})));
        line("received:   ", fmt::format("{} packets, {} bytes",
                                         status.value("packets-received", std::uint64_t{0}),
                                         status.value("bytes-received", std::uint64_t{0})));
    }
    if (status.contains("last-error")) line("last error: ", status.value("last-error", ""));
    return text;
}

}  // namespace dstm::client
