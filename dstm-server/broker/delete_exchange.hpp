// A delete (RFC 5572 s4.7.1): the tunnel off its endpoint, then the lease released, then 200.
//
// An endpoint that does not answer leaves all as it was (530). When the lease cannot be released
// the tunnel stays down and the lease is owed to Kea: 530 as well, because not all is done yet. A
// session that goes away does not stop a delete. The same is done without a client's asking when an
// idle tunnel is to go, or one whose NAT mapping another client uses now.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/tsp/server_session.hpp"
#include "dstm-server/broker/exchange.hpp"
#include "dstm-server/broker/ledger.hpp"

namespace dstm::server {

class DeleteExchange final : public Exchange, public std::enable_shared_from_this<DeleteExchange> {
public:
    using Answer = std::function<void(tsp::TunnelAnswered)>;

    // `reason` is for the audit log. `answer` may be empty: nobody asked.
    DeleteExchange(Ledger& ledger, Lease binding, std::string reason, Answer answer);
    // Once, after Ledger::begin.
    void start();

    [[nodiscard]] Family family() const override { return family_of(binding_.context.type); }
    [[nodiscard]] bool is_awaited() const override { return answer_ != nullptr; }
    void withdraw() override { answer_ = nullptr; }
    void on_lease_ended(const Lease&) override {}
    [[nodiscard]] bool takes_down() const override { return true; }

private:
    void on_removed(const Result<void>& result);
    void release();
    void on_released(const Result<void>& result);
    void finish(tsp::TunnelAnswered answer);

    Ledger& ledger_;
    const Lease binding_;
    const std::string reason_;
    Answer answer_;
};

}  // namespace dstm::server
