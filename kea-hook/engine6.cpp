// The engine in kea-dhcp6. RFC 8415 s18.3: to Kea each request looks like a Request, or a Renew if
// the client has the lease already, for one IA_NA or one IA_PD.
#include <algorithm>

#include <dhcp/dhcp6.h>
#include <dhcp/duid.h>
#include <dhcp/pkt6.h>
#include <dhcpsrv/lease_mgr_factory.h>

#include "kea-hook/dstm_query.hpp"
#include "kea-hook/engine_parts.hpp"

namespace dstm::kea {

using isc::dhcp::AllocEngine;
using isc::dhcp::CfgMgr;
using isc::dhcp::DUID;
using isc::dhcp::IPv6Resrv;
using isc::dhcp::Lease;
using isc::dhcp::Lease6;
using isc::dhcp::LeaseMgrFactory;
using isc::dhcp::Option;
using isc::dhcp::Pkt6;
using isc::hooks::HooksManager;

namespace {

using Query6 = DstmQuery<Pkt6>;
using Query6Ptr = boost::shared_ptr<Query6>;
using Context = AllocEngine::ClientContext6;

Query6Ptr make_query(std::uint8_t type, Memo memo) {
    const auto query = boost::make_shared<Query6>(type, std::move(memo));
    query->addOption(boost::make_shared<Option>(Option::V6, D6O_CLIENTID, query->Memo::client_id));
    return query;
}

bool is_reserved(const isc::dhcp::ConstHostPtr& host, const Wanted& wanted) {
    const auto type = wanted.type == Lease::TYPE_PD ? IPv6Resrv::TYPE_PD : IPv6Resrv::TYPE_NA;
    const auto range = host->getIPv6Reservations(type);
    return std::any_of(range.first, range.second, [&](const auto& entry) {
        return entry.second.getPrefixLen() == wanted.length;
    });
}

class Engine6 : public Engine {
public:
    std::vector<SubnetPtr> subnets(std::uint32_t subnet_id) const override {
        const auto all = CfgMgr::instance().getCurrentCfg()->getCfgSubnets6()->getAll();
        return subnets_of<isc::dhcp::SharedNetwork6>(*all, subnet_id);
    }

    Standing examine(const LeaseRequest& request, const Wanted& wanted,
                     const SubnetPtr& subnet) override {
        const Question question(request, wanted, subnet, DHCPV6_REQUEST);
        const auto& hosts = question.context.hosts_;
        Standing standing;
        standing.classes = question.query->getClasses();
        standing.supported = subnet->clientSupported(standing.classes);
        standing.reserved = std::any_of(hosts.begin(), hosts.end(), [&](const auto& entry) {
            return entry.second && is_reserved(entry.second, wanted);
        });
        return standing;
    }

    Outcome ask(const LeaseRequest& request, const Wanted& wanted, const SubnetPtr& subnet,
                const RowPtr&, const std::optional<IOAddress>& address) override {
        Question question(request, wanted, subnet, DHCPV6_REQUEST);
        if (!subnet->clientSupported(question.query->getClasses())) return {};
        auto& context = question.context;
        const auto held = held_in_network(context);
        if (held) question.query->setType(DHCPV6_RENEW);
        if (wanted.type != Lease::TYPE_PD) {  // a prefix has no name
            Name name =
                choose_name(request.hostname, held, context.currentHost(), context.getDdnsParams());
            context.hostname_ = name.hostname;
            context.fwd_dns_update_ = context.rev_dns_update_ = name.update;
            question.query->name = std::move(name.from_address);
        }
        context.currentIA().addHint(address.value_or(IOAddress::IPV6_ZERO_ADDRESS()), wanted.length,
                                    0, request.valid_lifetime_s);
        const bool was_live = held && is_live(*held);
        const auto leases =
            held ? engine_->renewLeases6(context) : engine_->allocateLeases6(context);
        return outcome_of(context, leases, question.query, was_live);
    }

    void update_dns(const Outcome& outcome) override {
        const auto config = CfgMgr::instance().getCurrentCfg();
        const auto params = config->getDdnsParams(boost::const_pointer_cast<isc::dhcp::Subnet6>(
            config->getCfgSubnets6()->getBySubnetId(outcome.row->subnet_id_)));
        queue_dns_changes(outcome.before, outcome.row, params->getUpdateOnRenew());
    }

    void commit(isc::dhcp::PktPtr query, const std::vector<RowPtr>& rows,
                const std::vector<RowPtr>& deleted) override {
        if (!query) {
            query = make_query(DHCPV6_RELEASE, {client_id_of(*deleted.front()), nullptr, 0});
        }
        call_committed<Lease6>("6", boost::dynamic_pointer_cast<Pkt6>(query), rows, deleted);
    }

private:
    // A query with all that Kea knows of its client.
    struct Question {
        Question(const LeaseRequest& request, const Wanted& wanted, const SubnetPtr& subnet,
                 std::uint8_t message_type)
            : query(
                  make_query(message_type, {request.client_id, request.user_context, request.now})),
              context(boost::dynamic_pointer_cast<Subnet6Ptr::element_type>(subnet),
                      boost::make_shared<DUID>(request.client_id), false, false, "", false, query,
                      HooksManager::createCalloutHandle()) {
            add_first_classes(*query, request.classes);
            context.addHostIdentifier(isc::dhcp::Host::IDENT_DUID, request.client_id);
            AllocEngine::findReservation(context);
            const auto host = context.currentHost();
            add_classes_of_host(*query, !context.hosts_.empty(),
                                host ? host->getClientClasses6() : isc::dhcp::ClientClasses());
            context.createIAContext();
            context.currentIA().type_ = wanted.type;
            // An identity association for each length: a prefix of another length can be had
            // before the one there was is given up.
            context.currentIA().iaid_ = wanted.length;
            if (wanted.type == Lease::TYPE_PD) query->prefix_length = wanted.length;
        }

        Query6Ptr query;
        Context context;
    };

    // What the engine will find and keep. Only a renewal lets us write into it.
    static isc::dhcp::Lease6Ptr held_in_network(Context& context) {
        const auto& ia = context.currentIA();
        const auto leases =
            LeaseMgrFactory::instance().getLeases6(ia.type_, *context.duid_, ia.iaid_);
        for (auto subnet = context.subnet_; subnet;
             subnet = subnet->getNextSubnet(context.subnet_)) {
            for (const auto& lease : leases) {
                if (lease->subnet_id_ == subnet->getID()) return lease;
            }
        }
        return nullptr;
    }

    static Outcome outcome_of(Context& context, const isc::dhcp::Lease6Collection& leases,
                              const Query6Ptr& query, bool was_live) {
        Outcome outcome{.row = {}, .before = {}, .gone = {}, .query = query};
        const auto given = std::find_if(leases.begin(), leases.end(), is_in_database);
        if (given != leases.end()) {
            write_if_spared(*given);
            outcome.row = *given;
        }
        const auto& row = outcome.row;
        for (const auto& old : context.currentIA().old_leases_) {
            // Also whoever had this one before us is here; that is not the client's.
            const bool own = *old->duid_ == *context.duid_;
            if (own && !(row && row->addr_ == old->addr_)) outcome.gone.push_back(old);
        }
        for (const auto& old : context.currentIA().changed_leases_) {
            if (was_live && row && row->addr_ == old->addr_) outcome.before = old;
        }
        return outcome;
    }

    // With "cache-threshold" the engine writes no young lease, and here it decides so after it has
    // asked us: our user-context is new all the same.
    static void write_if_spared(const isc::dhcp::Lease6Ptr& lease) {
        if (lease->reuseable_valid_lft_ == 0) return;
        lease->reuseable_valid_lft_ = lease->reuseable_preferred_lft_ = 0;
        LeaseMgrFactory::instance().updateLease6(lease);
    }

    // The engine returns one that the configuration no longer allows, too, after it has deleted it.
    static bool is_in_database(const isc::dhcp::Lease6Ptr& lease) {
        const auto found = LeaseMgrFactory::instance().getLease6(lease->type_, lease->addr_);
        return found && *found->duid_ == *lease->duid_;
    }

    std::unique_ptr<AllocEngine> engine_ = make_engine<AllocEngine>(engine_attempts_max, true);
};

}  // namespace

std::unique_ptr<Engine> make_engine6() { return std::make_unique<Engine6>(); }

}  // namespace dstm::kea
