import Foundation
import RosterKitGenerated
import XCTest

private let dave = "dave@example.net"

/// Carries what is to be carried, there and back, until nothing is.
private func carry(_ one: PeerLink, _ other: PeerLink) throws {
    var moved = true
    while moved {
        let there = try one.take(max: 65_536, timeoutMs: 0)
        if !there.isEmpty { try other.feed(bytes: there) }
        let back = try other.take(max: 65_536, timeoutMs: 0)
        if !back.isEmpty { try one.feed(bytes: back) }
        moved = !there.isEmpty || !back.isEmpty
    }
}

private func outcomes(_ session: Session) throws -> [FinalOutcome] {
    try session.nextEvents(max: 10, timeoutMs: 0).compactMap {
        if case .outcomeTold(_, _, _, let outcome) = $0.body { outcome } else { nil }
    }
}

final class PeerLinkTests: WorldTestCase {
    func testTwoEnginesAreJoinedOverAPipeOfTheHosts() throws {
        let here = try openVirtual()
        let there = try Engine.openVirtual(
            path: nil, options: EngineOptions(domains: ["example.net"]), seed: 2, startMs: 0)
        defer { try? there.shutdown() }
        try there.createAccount(address: dave)
        let (out, back) = try (
            here.openPeerLink(domains: ["example.net"]), there.openPeerLink(domains: ["example.org"])
        )
        let (mine, daves) = try (here.openSession(address: alice), there.openSession(address: dave))
        XCTAssertEqual(try mine.send(recipient: dave, text: "hello").outcome, .queued)
        try out.connect()
        try back.connect()
        try carry(out, back)
        let heard = try daves.nextEvents(max: 10, timeoutMs: 0)
        XCTAssertEqual(heard.count, 1)
        XCTAssertEqual(try outcomes(mine), [.relayed])
        XCTAssertEqual(try out.state().peerDomains, ["example.net"])
        XCTAssertThrowsError(try out.feed(bytes: Data(repeating: 71, count: 50)))
        XCTAssertFalse(try out.state().isConnected)
    }

    func testARelayOfTheHostsSettlesWhatItCarries() throws {
        let engine = try openVirtual()
        let relay = try engine.openRelay()
        let mine = try engine.openSession(address: alice)
        _ = try mine.send(recipient: dave, text: "hello")
        try relay.connect()
        guard case .parcelReady(let parcel)? = try relay.nextOutgoing(max: 10, timeoutMs: 0).first,
            case .messages(let messages) = parcel.contents, let delivery = messages.first?.deliveryId
        else { return XCTFail("no parcel came") }
        try relay.settle(deliveryId: delivery, settlement: .failed(reason: "nobody lives there"))
        try engine.advance(millis: 0)
        XCTAssertEqual(try outcomes(mine), [.failed(reason: "nobody lives there")])
    }
}
