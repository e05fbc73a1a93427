// Echoes to the endpoint's inner address, whose answers are as large as they are.
#include "client/path_watch.hpp"

#include <algorithm>

#include "client/net/icmp_probe.hpp"
#include "common/io/asio.hpp"
#include "common/log/log.hpp"

namespace dstm::client {

PathWatch::PathWatch(asio::io_context& context, const std::string& device, HostNetwork& host,
                     const Clock& clock)
    : host_(host),
      clock_(clock),
      echo_(make_icmp_probe(context, device, [this](const Event& event) { answered(event); })),
      timer_(context) {}

void PathWatch::look(const Binding& binding) {
    if (!binding.offer.keepalive_to) return;  // nobody is known who would answer
    from_ = binding.offer.inner;
    to_ = *binding.offer.keepalive_to;
    probe_.begin(clock_.now());
    go_on();
}

void PathWatch::stop() {
    probe_.stop();
    timer_.cancel();
    echo_->close();
}

void PathWatch::go_on() {
    const auto now = clock_.now();
    if (const auto verdict = probe_.verdict(now)) return conclude(*verdict);
    // Read anew for each round: a packet-too-big may have said by now what would fit.
    const auto mtu = host_.mtu();
    if (!mtu) return stop();
    for (const auto& echo : probe_.next(now)) {
        echo_->send({from_, to_, echo.sequence, echo.is_large ? *mtu : 0});
    }
    if (const auto due = probe_.due()) {
        timer_.after(std::max(Duration{0}, *due - clock_.now()), [this] { go_on(); });
    }
}

void PathWatch::answered(const Event& event) {
    const auto* answer = std::get_if<KeepaliveAnswered>(&event);
    if (answer == nullptr) return;
    if (const auto verdict = probe_.answered(answer->sequence)) conclude(*verdict);
}

void PathWatch::conclude(PathProbe::Verdict verdict) {
    timer_.cancel();
    if (verdict == PathProbe::Verdict::good) return;
    const auto before = host_.mtu().value_or(0);
    if (const auto used = host_.use_smallest_mtu(); !used) {
        log_warning("CLIENT_PATH_NOT_LIMITED", "{}", to_string(used.error()));
        return;
    }
    log_warning("CLIENT_PATH_LIMITED", "mtu={} before={}", host_.mtu().value_or(0), before);
}

}  // namespace dstm::client
