import Foundation
import RosterKitGenerated
import XCTest

/// Messages, rosters and presence, pushed, pulled and by ticket.
final class ConversationTests: WorldTestCase {
    func testAMessageComesByCallback() throws {
        let engine = try open()
        let heard = Heard()
        let theirs = try engine.openSession(address: bob, listener: heard)
        let mine = try engine.openSession(address: alice)
        let options = SendOptions(extensions: Data([0, 255]))
        let receipt = try mine.send(recipient: bob, text: "grüß dich 👋", options: options)
        let message = try heard.nextMessage()
        // They are no buddies: she is not told that he is there.
        XCTAssertEqual(receipt.outcome, .stored)
        XCTAssertEqual(message.id, receipt.messageId)
        XCTAssertEqual(message.body, .text(text: "grüß dich 👋"))
        XCTAssertEqual(message.extensions, Data([0, 255]))
        XCTAssertEqual(try mine.history(request: HistoryRequest(peer: bob)).messages.map(\.id), [message.id])
        try theirs.shutdown()
    }

    func testAMessageIsPulledAndComesAgainUntilItIsAcknowledged() throws {
        let engine = try open()
        _ = try engine.send(sender: alice, recipient: bob, text: "one")
        _ = try engine.send(sender: alice, recipient: bob, text: "two")
        let first = try engine.openSession(address: bob)
        let one = try first.next()
        XCTAssertEqual(one.text, "one")
        try first.ack(seq: one.seq)
        try first.ack(seq: one.seq)
        XCTAssertEqual(try first.next().text, "two")
        try first.shutdown()
        XCTAssertEqual(try first.next().body, .sessionEnded(reason: .requested))

        let second = try engine.openSession(address: bob)
        let two = try second.next()
        XCTAssertEqual(two.text, "two")
        try second.ack(seq: two.seq)
        try second.shutdown()
        XCTAssertEqual(try engine.openSession(address: bob).rest(), [])
    }

    func testWhatWasNotAcknowledgedIsThereAfterARestart() throws {
        let engine = try open()
        _ = try engine.send(sender: alice, recipient: bob, text: "hello")
        XCTAssertEqual(try engine.openSession(address: bob).next().text, "hello")
        try engine.shutdown()
        XCTAssertEqual(try open().openSession(address: bob).next().text, "hello")
    }

    func testDataIsSent() throws {
        let engine = try openVirtual()
        let theirs = try engine.openSession(address: bob)
        let bytes = Data([1, 0, 255])
        _ = try engine.openSession(address: alice).sendData(recipient: bob, mediaType: "image/png", bytes: bytes)
        XCTAssertEqual(try theirs.rest().map(\.message?.body), [.data(mediaType: "image/png", bytes: bytes)])
    }

    func testTwoPeopleBecomeBuddiesAndSeeEachOther() throws {
        let engine = try openVirtual()
        let (mine, theirs) = try (engine.openSession(address: alice), engine.openSession(address: bob))
        try mine.addBuddy(peer: bob, name: "Bob", groups: ["Friends"])
        guard case .buddyRequested(_, alice, _, _)? = try theirs.rest().first?.body else {
            return XCTFail("nobody asked")
        }
        try theirs.confirmBuddy(peer: alice)
        try theirs.setPresence(presence: PresenceUpdate(state: .onPhone, note: "a call"))
        try mine.setPresence(presence: PresenceUpdate(state: .online))
        let shown = Presence(state: .onPhone, note: "a call")
        XCTAssertTrue(try mine.rest().map(\.body).contains(.presenceChanged(subject: bob, presence: shown)))
        let buddy = try XCTUnwrap(mine.roster().buddies.first)
        XCTAssertEqual([buddy.name] + buddy.groups, ["Bob", "Friends"])
        XCTAssertEqual(buddy.status, .confirmed)
        XCTAssertEqual(try mine.send(recipient: bob, text: "hello").outcome, .delivered)
    }

    func testAThousandSendsAreInFlightFromOneThread() throws {
        let engine = try open()
        let sends = (0..<1024).map { number in
            let send = Command.sendText(recipient: bob, text: "message \(number)", options: SendOptions())
            return SubmittedCommand(account: alice, command: send)
        }
        let tickets = try engine.submit(commands: sends)
        XCTAssertEqual(tickets.count, sends.count)
        var positions: [Int64: Int64] = [:]
        while positions.count < tickets.count {
            let answers = try engine.nextAnswers(max: 100, timeoutMs: Int64(seconds * 1000))
            if answers.isEmpty { return XCTFail("\(positions.count) answers came") }
            for answered in answers {
                guard case .sent(let receipt) = answered.answer else { return XCTFail("\(answered)") }
                positions[answered.ticket] = receipt.position
            }
        }
        XCTAssertEqual(tickets.sorted { positions[$0] ?? 0 < positions[$1] ?? 0 }, tickets)
    }

    func testARefusedCommandIsAnsweredWithItsError() throws {
        let engine = try openVirtual()
        let send = Command.sendText(recipient: "nobody@example.org", text: "hello", options: SendOptions())
        let tickets = try engine.submit(commands: [SubmittedCommand(account: alice, command: send)])
        let answers = try engine.nextAnswers(max: 10, timeoutMs: 0)
        XCTAssertEqual(answers.map(\.ticket), tickets)
        guard case .failed(.NotFound(let details))? = answers.first?.answer else { return XCTFail("\(answers)") }
        XCTAssertTrue(details.contains("nobody@example.org"), details)
    }

    func testAServerReadsItsSessionsInOnePlace() throws {
        let engine = try openVirtual()
        let options = SessionOptions(readThroughEngine: true)
        let (mine, theirs) = try (
            engine.openSession(address: alice, options: options), engine.openSession(address: bob, options: options)
        )
        _ = try engine.send(sender: carol, recipient: alice, text: "to alice")
        _ = try engine.send(sender: carol, recipient: bob, text: "to bob")
        let batches = try engine.nextBatches(maxEvents: 10, maxBytes: 65_536, timeoutMs: 0)
        let texts = Dictionary(uniqueKeysWithValues: batches.map { ($0.sessionId, $0.events.map(\.text)) })
        XCTAssertEqual(texts, try [mine.sessionId(): ["to alice"], theirs.sessionId(): ["to bob"]])
        for batch in batches { try engine.ack(sessionId: batch.sessionId, seq: batch.events.last?.seq ?? 0) }
        try theirs.shutdown()
        XCTAssertEqual(try engine.openSession(address: bob).rest(), [])
    }

    func testAnEventOfAKindThatIsNotKnownHereIsAnother() throws {
        let unknown = Event(seq: 7, body: .other(kind: "weather", json: #"{"sky": "clear"}"#))
        let batch = EventBatch(sessionId: 1, events: [unknown])
        let arrived = try FfiConverterTypeEventBatch_lift(FfiConverterTypeEventBatch_lower(batch))
        // Written so, an app compiles also when there are more cases.
        let told =
            switch arrived.events[0].body {
            case .messageReceived: "a message"
            case .other(let kind, let json): "\(kind) \(json)"
            default: "something else"
            }
        XCTAssertEqual(told, #"weather {"sky": "clear"}"#)
    }
}
