// What cannot be used and what goes back, in virtual time: the host fails, moves away, or stops.
#include <gtest/gtest.h>

#include "fake_world.hpp"

namespace dstm::client {
namespace {

using namespace std::chrono_literals;
using What = Announce::What;

// --- the host fails ------------------------------------------------------------------------------

World failing_install(ErrorCode error, unsigned times, bool for_a_person = false) {
    auto config = World::default_config();
    config.ends_on_refusal = for_a_person;
    World world(config);
    world.tell(StartRequested{});
    world.install_error = error;
    world.fault_step = world.step + 2;  // after the create
    world.faults = times;
    world.tell(RenewRequested{});
    return world;
}

bool has_deleted(const World& world) {
    for (const auto& command : world.commands) {
        if (command.action == tsp::Action::delete_tunnel) return true;
    }
    return false;
}

TEST(ClientEngineEnd, FailureOfTheHostThatMayPassKeepsTheLeaseForTheNextAttempt) {
    for (const auto error :
         {ErrorCode::unavailable, ErrorCode::not_found, ErrorCode::timed_out}) {
        for (const bool for_a_person : {false, true}) {
            auto world = failing_install(error, 1, for_a_person);
            const bool stands = error == ErrorCode::unavailable;
            EXPECT_EQ(world.host_is_clean(), !stands) << "where it was";
            EXPECT_EQ(world.engine.state(), stands ? State::renewing : State::waiting);
            EXPECT_EQ(world.count(What::down), stands ? 0U : 1U);
            EXPECT_TRUE(world.leased);
            world.pass(1s);
            EXPECT_EQ(world.engine.state(), State::up);
            EXPECT_FALSE(has_deleted(world)) << "the connections of this host live on its address";
        }
    }
}

TEST(ClientEngineEnd, TunnelWhoseRoutesCannotBeChangedIsMadeAnew) {
    World world;
    world.tell(StartRequested{});
    world.install_error = ErrorCode::unavailable;
    world.fault_step = world.step + 3;  // after create and install
    world.tell(RenewRequested{});
    EXPECT_EQ(world.faulty, "routes");
    EXPECT_TRUE(world.host_is_clean()) << "half of it is new";
    EXPECT_TRUE(world.leased);
    world.pass(1s);
    EXPECT_EQ(world.engine.state(), State::up);
}

TEST(ClientEngineEnd, LeaseThatWasRenewedUnderATunnelThatWasNotIsGivenBackAtTheStop) {
    auto world = failing_install(ErrorCode::unavailable, 1);
    world.now.at += 1s;  // the renewed lease is a second younger
    world.now.wall += 1s;
    world.fault_step = world.step + 3;
    world.tell(OuterAddressChanged{elsewhere});
    ASSERT_EQ(world.faulty, "install");
    world.reachable = false;
    world.pass(3600s - 500ms);
    ASSERT_EQ(world.count(What::down), 1U);
    world.reachable = true;
    world.tell(StopRequested{});
    EXPECT_FALSE(world.leased);
}

TEST(ClientEngineEnd, FailureOfTheHostThatWillStandGivesTheLeaseBackAtOnce) {
    for (const auto error : {ErrorCode::refused, ErrorCode::invalid, ErrorCode::conflict}) {
        const auto world = failing_install(error, 1);
        EXPECT_FALSE(world.leased);
        EXPECT_TRUE(world.last(What::failed)->permanent);
        EXPECT_GE(world.last(What::retrying)->in, 150s);
    }
}

TEST(ClientEngineEnd, FailureThatComesAgainGivesTheLeaseBackAndIsTriedAsEver) {
    auto world = failing_install(ErrorCode::unavailable, 1);
    world.fault_step = world.step + 3;  // after connect and create
    world.pass(1s);
    EXPECT_TRUE(world.host_is_clean());
    EXPECT_FALSE(world.leased) << "nobody holds an address for a host that cannot use it";
    EXPECT_EQ(world.engine.state(), State::waiting);
    EXPECT_FALSE(world.last(What::failed)->permanent);
    world.pass(3s);
    EXPECT_EQ(world.engine.state(), State::up);
}

TEST(ClientEngineEnd, HostThatIsKnownToHaveLeftIsNoHostThatCannot) {
    World world;
    world.tell(StartRequested{});
    world.install_error = ErrorCode::unavailable;
    world.fault = World::Fault::silence;
    for (int i = 0; i < 4; ++i) {
        world.fault_step = world.step + (world.session ? 1 : 2);  // the create
        world.tell(RenewRequested{});
        world.tell(OuterAddressChanged{std::nullopt});  // between two places
        world.fault_step = world.step + 1;
        world.tell(Answered{200, "", offer_message("192.0.2.7", home, 3600), {}});
        EXPECT_EQ(world.engine.state(), State::renewing) << i;
        EXPECT_TRUE(world.leased && world.installed) << i;
    }
    EXPECT_EQ(world.count(What::failed), 4U);
    EXPECT_EQ(world.count(What::down), 0U);
}

TEST(ClientEngineEnd, LeaseThatIsKeptIsGivenBackAtTheStop) {
    auto world = failing_install(ErrorCode::not_found, 1);
    world.tell(StopRequested{});
    EXPECT_EQ(world.engine.state(), State::stopped);
    EXPECT_FALSE(world.leased);

    auto late = failing_install(ErrorCode::not_found, 1);
    late.reachable = false;
    late.pass(3700s);
    late.tell(StopRequested{});
    EXPECT_EQ(late.engine.state(), State::stopped);
    EXPECT_EQ(late.count(What::lease_not_returned), 0U) << "it is over";
}

TEST(ClientEngineEnd, HostThatMovedBeforeTheAnswerAttachesFromItsNewPlaceAtOnce) {
    auto world = failing_install(ErrorCode::unavailable, 1);
    ASSERT_EQ(world.engine.state(), State::renewing);
    world.source = elsewhere;
    world.tell(OuterAddressChanged{elsewhere});
    EXPECT_EQ(world.engine.state(), State::up);
    EXPECT_EQ(world.count(What::down), 0U);
    EXPECT_EQ(world.count(What::moved), 1U);
    EXPECT_EQ(world.spec.outer_client.address, IpAddress(elsewhere));
    EXPECT_FALSE(has_deleted(world));
}

TEST(ClientEngineEnd, MoveWhileAnUnusableLeaseGoesBackSendsItFromTheNewPlaceAndEndsTheLongWait) {
    World world;
    world.fault_step = 3;  // the install, and the delete after it
    world.faults = 2;
    world.fault = World::Fault::silence;
    world.tell(StartRequested{});
    EXPECT_TRUE(world.leased);
    world.source = elsewhere;
    world.tell(OuterAddressChanged{elsewhere});
    EXPECT_FALSE(world.leased);
    EXPECT_EQ(world.commands.back().client->addresses.at(0).text, elsewhere.to_string());
    ASSERT_NE(world.last(What::retrying), nullptr);
    EXPECT_LE(world.last(What::retrying)->in, 1s);
}

TEST(ClientEngineEnd, UnusableLeaseThatCannotBeGivenBackIsToldOf) {
    for (const auto fault : {World::Fault::lost, World::Fault::temporary, World::Fault::silence}) {
        World world;
        world.fault_step = 3;
        world.faults = fault == World::Fault::lost ? 3 : 2;  // lost: once more, newly connected
        world.fault = fault;
        world.tell(StartRequested{});
        world.pass(61s, [&world] { return world.count(What::lease_not_returned) > 0; });
        EXPECT_EQ(world.count(What::lease_not_returned), 1U) << static_cast<int>(fault);
        EXPECT_EQ(world.engine.state(), State::waiting) << static_cast<int>(fault);
    }
}

// --- stop ----------------------------------------------------------------------------------------

TEST(ClientEngineEnd, StopWhileAMoveWaitsIsSaidFromTheNewPlace) {
    World world;
    world.tell(StartRequested{});
    world.source = elsewhere;
    world.tell(OuterAddressChanged{elsewhere});
    world.source = home;
    world.tell(OuterAddressChanged{home});  // too soon after the first
    ASSERT_EQ(world.connects.size(), 2U);
    world.tell(StopRequested{});
    EXPECT_EQ(world.connects.size(), 3U) << "the open session is the former place's";
    EXPECT_EQ(world.engine.state(), State::stopped);
    EXPECT_FALSE(world.leased);
}

TEST(ClientEngineEnd, MoveAfterTheStopSaysItAgainFromTheNewPlace) {
    World world;
    world.tell(StartRequested{});
    world.fault_step = world.step + 1;  // the delete
    world.fault = World::Fault::silence;
    world.tell(StopRequested{});
    ASSERT_EQ(world.engine.state(), State::tearing_down);
    world.source = elsewhere;
    world.tell(OuterAddressChanged{elsewhere});
    EXPECT_EQ(world.connects.size(), 2U);
    EXPECT_EQ(world.engine.state(), State::stopped);
    EXPECT_FALSE(world.leased);
}

TEST(ClientEngineEnd, ReportsThatChangeNothingLeaveADeleteAlone) {
    World world;
    world.tell(StartRequested{});
    world.fault_step = world.step + 1;
    world.fault = World::Fault::silence;
    world.tell(StopRequested{});
    world.tell(OuterAddressChanged{home});
    world.tell(OuterAddressChanged{std::nullopt});
    EXPECT_EQ(world.connects.size(), 1U);
    EXPECT_EQ(world.engine.state(), State::tearing_down);
}

TEST(ClientEngineEnd, StopAfterTheLeaseEndedInSleepLeavesACleanHost) {
    World world;
    world.tell(StartRequested{});
    world.now.at += 4000s;
    world.tell(StopRequested{});
    EXPECT_TRUE(world.host_is_clean());
    EXPECT_EQ(world.engine.state(), State::stopped);
}

TEST(ClientEngineEnd, TextOfARefusedGoodByeIsQuoted) {
    World world;
    world.tell(StartRequested{});
    world.pass(60s);
    world.on_connect = [&world](const Connect&) {
        world.events.push_back(
            SessionFailed{SessionFailed::Cause::refused, 300, "no\x1b[2J\n", {}});
    };
    world.tell(StopRequested{});
    const auto& text = world.last(What::lease_not_returned)->text;
    EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_NE(text.find("300"), std::string::npos) << text;
}

// "Success" to a delete also means that there was nothing to delete.
TEST(ClientEngineEnd, DeleteThatAnotherMachineAnsweredIsNotTakenForTheLeasesEnd) {
    for (const bool is_another : {false, true}) {
        World world;
        world.tell(StartRequested{});
        world.pass(60s);
        const IpEndpoint other{*Ipv6Address::parse("2001:db8:3::2"), 3653};
        world.on_connect = [&](const Connect& connect) {
            if (is_another && !connect.is_elsewhere) {
                SessionFailed failed{SessionFailed::Cause::unreachable, 0, "no", {}};
                failed.has_others = true;
                world.events.push_back(failed);
            } else {
                world.events.push_back(
                    SessionOpened{{home, 0}, is_another ? other : world.peer});
            }
        };
        world.tell(StopRequested{});
        EXPECT_EQ(world.engine.state(), State::stopped);
        EXPECT_EQ(world.count(What::lease_not_returned), is_another ? 1U : 0U);
    }
}

}  // namespace
}  // namespace dstm::client
