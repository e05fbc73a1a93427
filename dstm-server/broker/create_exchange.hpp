// A create (RFC 5572 s4.7.1: also the update of what stands):
//
//   lease -> install -> answer 200, offered -> accepted
//
// and back, in reverse order, from wherever it stands when a step fails, the client rejects, or the
// session is gone: off the endpoint, then the lease released; or, when the client had a binding
// before, that binding put back in Kea and on its endpoint with a newer generation. An endpoint
// that fails is replaced by another that carries the address, as long as there is one.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/tsp/server_session.hpp"
#include "dstm-server/broker/exchange.hpp"
#include "dstm-server/broker/ledger.hpp"
#include "dstm-server/broker/terms.hpp"

namespace dstm::server {

class CreateExchange final : public Exchange, public std::enable_shared_from_this<CreateExchange> {
public:
    using Answer = std::function<void(tsp::TunnelAnswered)>;

    CreateExchange(Ledger& ledger, CreateTerms terms, Answer answer);
    // Once, after Ledger::begin.
    void start();

    [[nodiscard]] Family family() const override { return family_of(terms_.context.type); }
    [[nodiscard]] bool is_awaited() const override { return answer_ != nullptr; }
    void withdraw() override;
    void accept() override;
    void on_lease_ended(const Lease& lease) override;
    [[nodiscard]] const Lease* offered() const override;

private:
    enum class Step { leasing, rehoming, installing, offered, going_back, over };

    // forward
    void on_leased(Result<Lease> result);
    void continue_at_endpoint();
    void rehome(const EndpointInfo& endpoint);
    void on_rehomed(Result<Lease> result);
    void install();
    void on_installed(Result<void> result);
    void offer();

    // back
    void refuse(tsp::Status status, std::string text);
    void go_back();
    void remove_then(void (CreateExchange::*next)());
    void return_lease();
    void finish();

    // The binding that this create updates; nullptr when there is none, or for another address.
    [[nodiscard]] const Lease* previous() const;
    [[nodiscard]] bool previous_is_at(const std::string& endpoint) const;
    void choose(const EndpointInfo& endpoint);
    [[nodiscard]] bool is_lost() const { return lost_up_to_ >= lease_.context.generation; }
    [[nodiscard]] LeaseDesk& leases() { return ledger_.leases(family()); }
    [[nodiscard]] LeaseRequest lease_request();
    [[nodiscard]] tsp::TunnelAnswered answer_to(const Error& error) const;
    void audit_offer();
    void audit_return();
    // A completion that comes when the exchange is gone (the server went down) is dropped.
    std::function<void()> then(void (CreateExchange::*handler)());
    template <class T>
    Done<T> then(void (CreateExchange::*handler)(Result<T>));

    Ledger& ledger_;
    const CreateTerms terms_;
    Answer answer_;

    Step step_ = Step::leasing;
    EndpointWish wish_;
    EndpointInfo endpoint_;  // chosen now; named in the lease's context
    Lease lease_;            // its context is good from the start, the rest once leased
    bool has_lease_ = false;
    bool at_endpoint_ = false;  // an install was sent to endpoint_
    bool was_audited_ = false;
    bool is_withdrawn_ = false;
    Generation lost_up_to_ = 0;    // Kea has ended the lease with this generation
    tsp::TunnelAnswered refusal_;  // given when all has gone back
};

}  // namespace dstm::server
