// The engine in kea-dhcp4. RFC 2131 s4.3.2: to Kea each request looks like a DHCPREQUEST of a
// client that names the address, or leaves the choice to the server.
#include <algorithm>

#include <dhcp/dhcp4.h>
#include <dhcp/option_int.h>
#include <dhcp/option_string.h>
#include <dhcp/pkt4.h>

#include "kea-hook/dstm_query.hpp"
#include "kea-hook/engine_parts.hpp"

namespace dstm::kea {

using isc::dhcp::AllocEngine;
using isc::dhcp::CfgMgr;
using isc::dhcp::ClientId;
using isc::dhcp::Lease4;
using isc::dhcp::Option;
using isc::dhcp::Pkt4;
using isc::dhcp::Pkt4Ptr;
using isc::hooks::HooksManager;

namespace {

using Query4 = DstmQuery<Pkt4>;
using Query4Ptr = boost::shared_ptr<Query4>;
using Context = AllocEngine::ClientContext4;

Query4Ptr make_query(std::uint8_t type, const Bytes& client_id,
                     const isc::data::ConstElementPtr& user_context, std::time_t now) {
    const auto query = boost::make_shared<Query4>(type, Memo{client_id, user_context, now});
    query->setHWAddr(hardware_address_of(client_id));
    query->addOption(
        boost::make_shared<Option>(Option::V4, isc::dhcp::DHO_DHCP_CLIENT_IDENTIFIER, client_id));
    query->addOption(boost::make_shared<isc::dhcp::OptionString>(
        Option::V4, isc::dhcp::DHO_VENDOR_CLASS_IDENTIFIER, vendor_class));
    return query;
}

class Engine4 : public Engine {
public:
    std::vector<SubnetPtr> subnets(std::uint32_t subnet_id) const override {
        const auto all = CfgMgr::instance().getCurrentCfg()->getCfgSubnets4()->getAll();
        return subnets_of<isc::dhcp::SharedNetwork4>(*all, subnet_id);
    }

    Standing examine(const LeaseRequest& request, const Wanted&, const SubnetPtr& subnet) override {
        const Question question(request, subnet, std::nullopt);
        const auto& hosts = question.context.hosts_;
        Standing standing;
        standing.classes = question.query->getClasses();
        standing.supported = subnet->clientSupported(standing.classes);
        standing.reserved = std::any_of(hosts.begin(), hosts.end(), [](const auto& entry) {
            return entry.second && !entry.second->getIPv4Reservation().isV4Zero();
        });
        return standing;
    }

    Outcome ask(const LeaseRequest& request, const Wanted&, const SubnetPtr& subnet,
                const RowPtr& held, const std::optional<IOAddress>& address) override {
        Question question(request, subnet, address);
        if (!subnet->clientSupported(question.query->getClasses())) return {};
        auto& context = question.context;
        Name name =
            choose_name(request.hostname, held, context.currentHost(), context.getDdnsParams());
        context.hostname_ = name.hostname;
        context.fwd_dns_update_ = context.rev_dns_update_ = name.update;
        question.query->name = std::move(name.from_address);

        const auto lease = engine_->allocateLease4(context);
        if (!lease) return {};
        Outcome outcome{.row = lease, .before = {}, .gone = {}, .query = question.query};
        const auto& old = context.old_lease_;
        if (old && old->addr_ != lease->addr_) {
            // The engine has replaced it, but told DNS nothing.
            queue_dns(isc::dhcp_ddns::CHG_REMOVE, old);
            outcome.gone.push_back(old);
        } else if (old && is_live(*old)) {
            outcome.before = old;  // what had ended here was reclaimed first, DNS included
        }
        return outcome;
    }

    void update_dns(const Outcome& outcome) override {
        const auto config = CfgMgr::instance().getCurrentCfg();
        const auto params = config->getDdnsParams(boost::const_pointer_cast<isc::dhcp::Subnet4>(
            config->getCfgSubnets4()->getBySubnetId(outcome.row->subnet_id_)));
        queue_dns_changes(outcome.before, outcome.row, params->getUpdateOnRenew());
    }

    void commit(isc::dhcp::PktPtr query, const std::vector<RowPtr>& rows,
                const std::vector<RowPtr>& deleted) override {
        if (!query) {
            query = make_query(isc::dhcp::DHCPRELEASE, client_id_of(*deleted.front()), nullptr, 0);
        }
        call_committed<Lease4>("4", boost::dynamic_pointer_cast<Pkt4>(query), rows, deleted);
    }

private:
    // A query with all that Kea knows of its client.
    struct Question {
        Question(const LeaseRequest& request, const SubnetPtr& subnet,
                 const std::optional<IOAddress>& address)
            : query(make_query(isc::dhcp::DHCPREQUEST, request.client_id, request.user_context,
                               request.now)),
              context(boost::dynamic_pointer_cast<Subnet4Ptr::element_type>(subnet),
                      boost::make_shared<ClientId>(request.client_id), query->getHWAddr(),
                      address.value_or(IOAddress::IPV4_ZERO_ADDRESS()), false, false, "", false) {
            if (request.valid_lifetime_s != 0) {
                query->addOption(boost::make_shared<isc::dhcp::OptionUint32>(
                    Option::V4, isc::dhcp::DHO_DHCP_LEASE_TIME, request.valid_lifetime_s));
            }
            add_first_classes(*query, request.classes);
            context.query_ = query;
            context.callout_handle_ = HooksManager::createCalloutHandle();
            context.addHostIdentifier(isc::dhcp::Host::IDENT_CLIENT_ID, request.client_id);
            AllocEngine::findReservation(context);
            const auto host = context.currentHost();
            add_classes_of_host(*query, !context.hosts_.empty(),
                                host ? host->getClientClasses4() : isc::dhcp::ClientClasses());
        }

        Query4Ptr query;
        Context context;
    };

    std::unique_ptr<AllocEngine> engine_ = make_engine<AllocEngine>(engine_attempts_max, false);
};

}  // namespace

std::unique_ptr<Engine> make_engine4() { return std::make_unique<Engine4>(); }

}  // namespace dstm::kea
