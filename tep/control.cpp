// The links and the two clocks of the table: sweep and idle.
#include "tep/control.hpp"

#include <algorithm>
#include <utility>

#include "common/io/asio.hpp"

namespace dstm::tep {
namespace {

constexpr Duration sweep_every = std::chrono::seconds(1);
constexpr std::size_t swept_at_once_max = 10'000;
constexpr std::chrono::seconds idle_look_max(10);

teplink::Hello hello_of(const Config& config, const TunnelTable& table,
                        const dataplane::DataPlane& plane) {
    teplink::Hello hello;
    hello.name = config.name;
    hello.group = config.group;
    hello.types = policy_of(config).types;
    hello.outer_ipv6 = config.outer_ipv6;
    hello.inner_ipv4 = config.inner_ipv4;
    hello.pools = config.pools;
    hello.outer_ipv4 = config.outer_ipv4;
    hello.inner_ipv6 = config.inner_ipv6;
    hello.pools_ipv6 = config.pools_ipv6;
    hello.data_plane = plane.name();
    hello.tunnels = table.size();
    return hello;
}

}  // namespace

TunnelPolicy policy_of(const Config& config) {
    TunnelPolicy policy;
    policy.types = {TunnelType::v4v6};
    if (config.outer_ipv4) policy.types.push_back(TunnelType::v6v4);
    if (config.udp_port != 0) policy.types.push_back(TunnelType::v6udpv4);
    policy.outer_ipv6 = config.outer_ipv6;
    policy.inner_ipv4 = config.inner_ipv4;
    policy.pools = config.pools;
    policy.outside_pools = config.outside_pools;
    policy.outer_ipv4 = config.outer_ipv4;
    policy.inner_ipv6 = config.inner_ipv6;
    policy.pools_ipv6 = config.pools_ipv6;
    policy.idle_time = config.idle_timeout;
    return policy;
}

Control::Control(asio::io_context& context, const Clock& clock, const Config& config,
                 TunnelTable& table, dataplane::DataPlane& plane, Relay& relay,
                 io::LinkOptions options)
    : clock_(clock),
      table_(table),
      services_{context,
                clock,
                table,
                plane,
                relay,
                [&config, &table, &plane] { return hello_of(config, table, plane); },
                std::move(options)},
      idle_timeout_(config.idle_timeout),
      sweep_(context),
      idle_(context) {
    for (const auto& server : config.servers) {
        links_.push_back(std::make_shared<ServerLink>(services_, server));
    }
    relay.set_links(links_);
}

void Control::start() {
    for (const auto& link : links_) link->start();
    sweep_later();
    if (idle_timeout_.count() > 0) look_for_idle_later(std::nullopt);
}

void Control::stop(std::function<void()> done) {
    sweep_.cancel();
    idle_.cancel();
    auto left = std::make_shared<std::size_t>(links_.size());
    for (const auto& link : links_) {
        link->stop([left, done] {
            if (--*left == 0) done();
        });
    }
}

void Control::sweep_later() {
    sweep_.after(sweep_every, [this] {
        table_.sweep(clock_.wall(), swept_at_once_max);
        sweep_later();
    });
}

// All of them at once would keep the links waiting.
void Control::look_for_idle_later(const std::optional<IpAddress>& from) {
    const auto pause = std::clamp(idle_timeout_ / 4, std::chrono::seconds(1), idle_look_max);
    idle_.after(from ? Duration(0) : Duration(pause), [this, from] {
        const bool anyone = std::ranges::any_of(
            links_, &ServerLink::is_up, [](const auto& link) -> ServerLink& { return *link; });
        IdlePage page;
        if (anyone) page = table_.find_idle(clock_.wall(), from, teplink::tunnels_per_message_max);
        if (!page.idle.empty()) {
            const teplink::Idle message{std::move(page.idle)};
            for (const auto& link : links_) link->notify(message);
        }
        look_for_idle_later(page.next);
    });
}

}  // namespace dstm::tep
